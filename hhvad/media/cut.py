"""Pieces of a video as files of their own: copied where they begin with a key frame, else encoded.

Copying keeps every bit and takes no time, but a decoder can begin at a key frame alone. So a piece
whose first frame is none is encoded again, H.264 at a quality that shows no difference.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

from hhvad.errors import VideoError
from hhvad.files import atomic_path


class Piece(NamedTuple):
    """Frames [start, end) of a video and the file that they become."""

    start: int
    end: int
    path: Path


def cut(path: str | Path, pieces: Sequence[Piece], n_frames: int) -> list[bool]:
    """Write pieces of a video; for each, whether it was copied.

    n_frames: of the video, as its probe counts them. Without sound. Raises VideoError where a piece
    is not inside the video, or the video does not decode.
    """
    for start, end, _ in pieces:
        if not 0 <= start < end <= n_frames:
            raise VideoError(f"{path}: frames {start}-{end} are not in its {n_frames} frames")
    keys = _shown_order(path)
    if len(keys) != n_frames:
        keys = []  # packets and frames do not go together: nothing is copied
    copied = [bool(keys) and _is_copyable(keys, piece) for piece in pieces]
    for piece, is_copy in zip(pieces, copied, strict=True):
        if is_copy:
            _copy(path, piece, keys)
    _encode(path, [piece for piece, done in zip(pieces, copied, strict=True) if not done])
    return copied


def from_key_frame(
    path: str | Path, spans: Sequence[tuple[int, int]], n_frames: int
) -> list[tuple[int, int]]:
    """The same spans, each begun at the key frame at or before its first frame."""
    keys = [number for number, packet in enumerate(_shown_order(path)) if packet.is_key]
    return [(max([0, *(key for key in keys if key <= start)]), end) for start, end in spans]


class _Packet(NamedTuple):
    """A frame's time stamp, whether it is a key frame, and the place of its packet in the file."""

    pts: int
    is_key: bool
    place: int


def _open(path: str | Path) -> Any:
    import av

    try:
        return av.open(f"file:{Path(path).absolute()}", options={"protocol_whitelist": "file"})
    except av.error.FFmpegError as error:
        raise VideoError(f"{path}: is not a video that can be read ({error.strerror})") from None


def _shown_order(path: str | Path) -> list[_Packet]:
    """The packets in the order in which their frames are shown; empty where one has no time."""
    found = []
    with _open(path) as file:
        if not file.streams.video:
            raise VideoError(f"{path}: it has no pictures")
        for place, packet in enumerate(file.demux(file.streams.video[0])):
            if packet.size:
                if packet.pts is None:
                    return []
                found.append(_Packet(packet.pts, packet.is_keyframe, place))
    return sorted(found)


def _is_copyable(shown: Sequence[_Packet], piece: Piece) -> bool:
    """Whether a piece begins with a key frame, and needs no packet of frames around it."""
    inside = shown[piece.start : piece.end]
    places = {packet.place for packet in inside}
    return (
        inside[0].is_key
        and places == set(range(min(places), max(places) + 1))
        and (min(places) == inside[0].place)
    )


def _copy(path: str | Path, piece: Piece, shown: Sequence[_Packet]) -> None:
    """Copy the packets of a piece; times begin at 0."""
    import av

    places = [packet.place for packet in shown[piece.start : piece.end]]
    first = shown[piece.start].pts
    with atomic_path(piece.path) as partial, _open(path) as source:
        stream = source.streams.video[0]
        with av.open(str(partial), "w", format=_format(piece.path)) as out:
            target = out.add_stream_from_template(stream)
            for place, packet in enumerate(source.demux(stream)):
                if place > max(places):
                    break
                if place >= min(places) and packet.size:
                    packet.pts -= first
                    if packet.dts is not None:
                        packet.dts -= first
                    packet.stream = target
                    out.mux(packet)


def _encode(path: str | Path, pieces: Sequence[Piece]) -> None:
    """Decode once, in order, and encode each piece; those that overlap too."""
    import av

    if not pieces:
        return
    from contextlib import ExitStack

    last = max(piece.end for piece in pieces)
    with ExitStack() as stack:
        source = stack.enter_context(_open(path))
        video = source.streams.video[0]
        rate = video.average_rate or video.guessed_rate or Fraction(25)
        writers = {piece: stack.enter_context(_Writer(piece.path, video, rate)) for piece in pieces}
        try:
            for number, frame in enumerate(source.decode(video)):
                time = frame.pts
                for piece, writer in writers.items():
                    if piece.start <= number < piece.end:
                        writer.add(frame, time)
                if number + 1 >= last:
                    break
            else:
                raise VideoError(f"{path}: only {number + 1} of its frames decode")
        except av.error.FFmpegError as error:
            raise VideoError(f"{path}: does not decode ({error.strerror})") from None


class _Writer:
    """One piece, encoded frame by frame."""

    def __init__(self, path: Path, source: Any, rate: Fraction) -> None:
        self.path, self.source, self.rate = path, source, rate
        self.first: int | None = None
        self.unit = source.time_base

    def __enter__(self) -> _Writer:
        import av

        self._whole = atomic_path(self.path)
        partial = self._whole.__enter__()
        self.out = av.open(str(partial), "w", format=_format(self.path))
        self.stream = self.out.add_stream("libx264", rate=self.rate)
        context = self.source.codec_context
        # Odd sides cannot be halved for colour: the last row or column goes.
        self.stream.width, self.stream.height = context.width & ~1, context.height & ~1
        self.stream.pix_fmt = "yuv420p"
        self.stream.time_base = self.source.time_base
        self.stream.codec_context.thread_count = 1
        self.stream.options = {"crf": "18", "preset": "veryfast", "threads": "1"}
        return self

    def add(self, frame: Any, time: int) -> None:
        """Encode a frame at its own time, which another writer may have changed in it."""
        first = self.first = time if self.first is None else self.first
        shown = frame.reformat(self.stream.width, self.stream.height, "yuv420p")
        shown.pts, shown.time_base = time - first, self.unit
        self.out.mux(self.stream.encode(shown))

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if kind is None:
            self.out.mux(self.stream.encode())
        self.out.close()
        self._whole.__exit__(kind, error, trace)


def _format(path: Path) -> str:
    return "matroska" if path.suffix == ".mkv" else "mp4"
