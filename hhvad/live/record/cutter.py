"""Packets of a camera into files: none is decoded, none is lost between two files.

Files are fragmented MP4, which is readable up to the last whole fragment when the recorder dies,
and which browsers play; Matroska where MP4 cannot hold the codec. A file is written as `NAME.part`
and renamed when it is complete. Its name is `CAMERA_20261126T100006.406Z.mp4`: when its first frame
came, in UTC.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from typing import Any

from hhvad.clock import start_in_name
from hhvad.errors import VideoError
from hhvad.live.watch.folder import NAMES

PART = ".part"
MP4 = ("h264", "hevc", "av1", "vp9", "mpeg4")
TICKS = 90_000  # a second, where packets have no times of their own
_FRAGMENTED = {"movflags": "frag_keyframe+empty_moov+default_base_moof"}


class Changed(Exception):
    """The camera's pictures are of another kind than before."""


class Clock:
    """When a frame was taken, by when it came.

    What comes late was held up on its way: the least delay of a file's packets is the truest.
    known: when media time 0 was, for recordings whose time is known.
    """

    def __init__(self, known: float | None = None) -> None:
        self.known = known
        self._least = math.inf

    def hear(self, media: float, arrival: float) -> None:
        """A packet of this media time came at this time; seconds."""
        self._least = min(self._least, arrival - media)

    def start(self, media: float) -> float:
        """When the frame of this media time was taken: seconds since 1970."""
        return media + (self._least if self.known is None else self.known)

    def forget(self) -> None:
        """Begin anew, so that clocks that run apart do not drift."""
        self._least = math.inf


class Cutter:
    """Writes the packets of one connection into files of `seconds` and a little more.

    finished: called with each file that has got its name.
    """

    def __init__(
        self,
        folder: Path,
        camera: str,
        stream: Any,
        seconds: float,
        clock: Clock,
        finished: Callable[[Path], None],
        *,
        by_arrival: bool = False,
    ) -> None:
        self.folder, self.camera, self.stream, self.seconds = folder, camera, stream, seconds
        self.clock, self.finished, self.by_arrival = clock, finished, by_arrival
        codec = stream.codec_context.name
        self.suffix = ".mp4" if codec in MP4 else ".mkv"
        self.codec = codec
        self._file: Any = None
        self._out: Any = None
        self._part = Path()
        self._first = 0.0
        self._base = 0  # dts of the file's first packet
        self._last_dts: int | None = None
        self._sets = b""

    def take(self, packet: Any, arrival: float) -> None:
        """Write a packet that came at this time; those before the first key frame are dropped.

        Raises Changed where the stream's parameters differ from those before, VideoError where it
        cannot be written, OSError where the disk is full.
        """
        import av

        if self.by_arrival:
            packet.time_base = Fraction(1, TICKS)
            packet.pts = packet.dts = round(arrival * TICKS)
        if packet.dts is None:
            packet.dts = packet.pts
        if packet.dts is None or packet.size == 0:
            return
        if self._last_dts is not None and packet.dts <= self._last_dts:
            packet.dts = self._last_dts + 1
            packet.pts = max(packet.pts or 0, packet.dts)
        media = float(packet.dts * packet.time_base)
        if packet.is_keyframe:
            self._compare(bytes(packet))
            if self._file is not None and media - self._first >= self.seconds:
                self.close()
        self.clock.hear(media, arrival)
        if self._file is None:
            if not packet.is_keyframe:
                return
            self._base = packet.dts
            self._open(media)
        self._last_dts = packet.dts
        packet.dts -= self._base  # each file has times of its own, from 0
        packet.pts = packet.dts if packet.pts is None else packet.pts - self._base
        packet.stream = self._out
        try:
            self._file.mux(packet)
        except av.error.FFmpegError as error:
            if isinstance(error, OSError):
                raise
            raise VideoError(f"a packet cannot be written ({error.strerror})") from error

    def close(self) -> None:
        """Finish the open file and give it its name; nothing where none is open."""
        if self._file is None:
            return
        file, self._file = self._file, None
        file.close()
        self.finished(finish(self._part, self.camera, self.clock, self._first, self.suffix))
        self.clock.forget()

    def drop(self) -> None:
        """Leave the open file as it is, as after a full disk."""
        file, self._file = self._file, None
        if file is not None:
            try:
                file.close()
            except OSError:
                return

    def _open(self, media: float) -> None:
        import av

        self._first = media
        self._part = self.folder / f"{name_of(self.camera, self.clock.start(media), self.suffix)}"
        self._part = self._part.with_name(self._part.name + PART)
        options = _FRAGMENTED if self.suffix == ".mp4" else {}
        form = "mp4" if self.suffix == ".mp4" else "matroska"
        self._file = av.open(str(self._part), "w", format=form, options=options)
        self._out = self._file.add_stream_from_template(self.stream)

    def _compare(self, data: bytes) -> None:
        """Notice another size or profile: in one file, players and decoders would fail on it."""
        found = parameter_sets(data, self.codec)
        if found and self._sets and found != self._sets:
            raise Changed("its pictures are of another kind now")
        self._sets = found or self._sets


def parameter_sets(data: bytes, codec: str) -> bytes:
    """What says the size and kind of pictures in a packet; empty where it does not tell.

    The sequence parameter sets of H.264 and H.265 (Annex B), a JPEG's frame header.
    """
    if codec == "mjpeg":
        return _jpeg_header(data)
    kinds = {"h264": (0x1F, 0, 7), "hevc": (0x3F, 1, 33)}.get(codec)
    if kinds is None:
        return b""
    mask, shift, wanted = kinds
    units = (unit.rstrip(b"\0") for unit in data.split(b"\0\0\1")[1:])
    return b"".join(unit for unit in units if unit and (unit[0] >> shift) & mask == wanted)


def _jpeg_header(data: bytes) -> bytes:
    """Precision, height, width and components of a JPEG: the content of its SOF segment."""
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        kind, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        if 0xC0 <= kind <= 0xCF and kind not in (0xC4, 0xC8, 0xCC):
            return data[at + 4 : at + 2 + length]
        at += 2 + length
    return b""


def name_of(camera: str, start: float, suffix: str) -> str:
    """The name of a file whose first frame was taken at `start`, seconds since 1970."""
    time = datetime.fromtimestamp(math.floor(start * 1000 + 0.5) / 1000, UTC)
    return f"{camera}_{time:%Y%m%dT%H%M%S}.{time.microsecond // 1000:03d}Z{suffix}"


def finish(part: Path, camera: str, clock: Clock, media: float, suffix: str) -> Path:
    """Give a complete file its name, by what the clock knows now. Nothing is overwritten.

    A name that is taken (a clock that jumped back) becomes one of the next free millisecond. But
    recordings whose time is known have always the same name: writing one again replaces it.
    """
    start = clock.start(media)
    path = part.with_name(name_of(camera, start, suffix))
    while path.exists() and clock.known is None:
        start += 0.001
        path = part.with_name(name_of(camera, start, suffix))
    _flush(part)
    os.replace(part, path)
    _flush(part.parent)
    return path


def _whole_fragments(path: Path) -> int:
    """The bytes of a fragmented MP4 up to the end of its last whole `mdat` (ISO 14496-12)."""
    size, at, whole = path.stat().st_size, 0, 0
    with path.open("rb") as file:
        while at + 8 <= size:
            file.seek(at)
            length, kind = int.from_bytes(file.read(4), "big"), file.read(4)
            if length == 1:  # the length is a number of 64 bits
                length = int.from_bytes(file.read(8), "big")
            at += length
            if length < 8 or at > size:
                break
            whole = at if kind == b"mdat" else whole
    return whole


def _flush(path: Path) -> None:
    """Have a file, or a folder's names, on the disk before going on."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def rescue(folder: Path, camera: str) -> tuple[list[Path], list[Path]]:
    """Finish the parts that a recorder left when it died: those kept, and those without a frame."""
    import av

    kept, dropped = [], []
    for part in sorted(folder.glob(f"*{PART}")):
        final = part.with_name(part.name.removesuffix(PART))
        if final.suffix == ".mp4":
            os.truncate(part, _whole_fragments(part))
        try:
            with av.open(f"file:{part}") as file:
                frames = sum(packet.size > 0 for packet in file.demux(file.streams.video[0]))
        except (av.error.FFmpegError, IndexError):
            frames = 0
        told = start_in_name(final.name, NAMES)
        if not frames or told is None:
            part.unlink()
            dropped.append(part)
            continue
        clock = Clock()
        clock.hear(0.0, datetime.fromisoformat(told).timestamp())
        kept.append(finish(part, camera, clock, 0.0, final.suffix))
    return kept, dropped
