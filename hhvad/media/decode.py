"""Video files, opened: what one is, and its frames, decoded once, in order, resized and written.

The child process (`python -m hhvad.media.decode`) of hhvad.media.probe, which says how they talk.

decord decodes short MP4 and Matroska files that PyAV has decoded without a fault: decord does not
tell which pictures it filled in from others. PyAV decodes what decord does not open, counts or
shows alike, what is stored turned (and is turned upright here), and long files: decord reads
packets and decodes pictures ahead without bound, so it gets no file whose packets and pictures
would not all fit. Which one it is follows from the file alone and stands in the probe; their
pictures are equal.
Only containers that hold their own pictures are opened: a playlist named .mp4 would show frames of
other files.
"""

from __future__ import annotations

import json
import math
import os
import queue
import resource
import signal
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from fractions import Fraction
from itertools import zip_longest
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from hhvad.artifacts.probe import SKIP, Probe
from hhvad.clock import utc
from hhvad.errors import HHVADError, VideoError
from hhvad.media import damage, transport
from hhvad.media.probe import FRAMES, fingerprint
from hhvad.media.time import FrameTimes

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from hhvad.masks import Polygon

    Picture = NDArray[np.uint8]

MAX_SIDE = 16384  # pixels; a header that claims more is damaged
MAX_PIXELS = 64_000_000
MAX_MEMORY = 8 * 2**30  # bytes that this process may allocate
# Seconds by which the video must start after the sound for that to be kept: less is what encoders
# and containers leave there.
LATE = Fraction(1, 10)
FIRST_YEAR = 1990  # a creation time before that is a clock that was never set
_NEAR_JOIN = 20 * 204  # bytes
_AHEAD = 32 * 2**20  # bytes of pictures that are decoded ahead
_DECORD_SECONDS = 10**7  # decord has memory for every frame since 0
_DECORD_MEMORY = 384 * 2**20  # bytes of packets and pictures that decord may pile up

_OPEN: dict[str, Any] = {
    "options": {
        "protocol_whitelist": "file",
        "format_whitelist": "asf,avi,dhav,dv,flv,gif,h264,hevc,ivf,matroska,webm,mjpeg,mov,mp4,"
        "mpeg,mpegts,mpegvideo,mxf,nut,obu,ogg,rm,wtv",
    },
    "metadata_errors": "replace",
}
# Containers whose packets have times: what is lost between two frames follows from them.
_TIMED = ("mpegts", "mov", "matroska")
# Codecs whose packets hold one shown frame each, so that packets can be counted for frames.
_FRAME_PER_PACKET = {"av1", "ffv1", "h264", "hevc", "libdav1d", "mjpeg", "prores", "vp9"}


def main() -> None:
    """Do the job on standard input and answer on standard output; never returns."""
    job = json.loads(sys.stdin.readline())
    _limit(job.pop("timeout"))
    output = _take_output()
    try:
        doing = job.pop("do")
        if doing == "probe":
            answer: dict[str, Any] = {"done": probe(**job).to_json("")}
        else:
            work: Any = {"sample": sample, "thumbnails": thumbnails, "stream": stream}[doing]
            if doing == "stream":
                job["output"] = output
            work(info=Probe.from_json(job.pop("info")), **job)
            answer = {"done": None}
    except HHVADError as error:
        message = " ".join(str(error).split())
        answer = {"error": type(error).__name__, "message": message}
    except MemoryError:
        message = "there is no memory to decode it; give the job more (mem_mb), or it is damaged"
        answer = {"error": VideoError.__name__, "message": message}
    output.write(json.dumps(answer).encode())
    output.flush()
    os._exit(0)  # decoders may hang in their destructors


def _limit(timeout: float) -> None:
    """Make sure that this process ends, whatever becomes of its parent, and stays in bounds."""
    signal.alarm(math.ceil(timeout) + 5)
    # Of what it allocates: the address space of a CUDA build's libraries alone is as large.
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    limit = MAX_MEMORY if hard == resource.RLIM_INFINITY else min(MAX_MEMORY, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

    def listen() -> None:
        while os.read(0, 4096):
            pass
        os._exit(1)  # the parent is gone

    threading.Thread(target=listen, daemon=True).start()


def _take_output() -> IO[bytes]:
    """Standard output for us alone. What libraries print on it or on standard error is dropped.

    Python's own errors still reach standard error: they are bugs.
    """
    output = os.fdopen(os.dup(1), "wb")
    sys.stderr = os.fdopen(os.dup(2), "w", buffering=1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    return output


def sample(
    path: str,
    info: Probe,
    out: str,
    video: str,
    view: str,
    frames_per_segment: int,
    segment_length: int,
    size: Sequence[int],
    threads: int,
    spans: Sequence[Sequence[int]] = (),
    picked: Sequence[Sequence[int]] = (),
    mask: Sequence[Polygon] = (),
    fit: str = "stretch",
    keep_mb: int | None = None,
) -> None:
    """Write the artifact `frames`; hhvad.media.probe.sample_frames says what the arguments are."""
    import numpy as np

    from hhvad.artifacts import hdf5 as artifacts
    from hhvad.media import samplers as sampling

    height, width = size
    if spans or view == "focus":  # of which there may be none
        segments = np.array(spans, np.int64).reshape(-1, 2)
        indices = np.array(picked, np.int64).reshape(-1, frames_per_segment)
    else:
        segments, indices = sampling.plan(
            info.frames, view, frames_per_segment, segment_length, info.damaged
        )
    provenance = {
        "video": video,
        "view": view,
        "frames_per_segment": frames_per_segment,
        "segment_length": segment_length,
        "size": [height, width],
        "resize": "bicubic-antialias",
        "fps": info.fps,
        "n_frames": info.frames,
        "decoder": info.decoder,
        "source": {"bytes": info.bytes, "fingerprint": info.fingerprint},
        **({"mask": mask} if mask else {}),
        **({"fit": fit} if fit != "stretch" else {}),
    }
    with artifacts.create(out, "frames", provenance) as (file, check):
        artifacts.add_dataset(file, "indices", indices)
        artifacts.add_dataset(file, "segments", segments)
        kept = len(segments)
        if keep_mb is not None:
            kept = min(kept, max(1, keep_mb * 2**20 // (frames_per_segment * height * width * 3)))
        shape = (kept, frames_per_segment, height, width, 3)
        target = artifacts.add_dataset(file, "frames", shape=shape, dtype=np.uint8, compress=False)
        if not kept:
            return
        if spans:  # they overlap: their frames come in no order
            order = np.argsort(indices, axis=None, kind="stable")  # the file is decoded once
            wanted = indices.ravel()[order].tolist()
            coming = _resized(path, info, wanted, size, threads, mask, fit)
            for number, picture in zip(order.tolist(), coming, strict=True):
                target[divmod(number, frames_per_segment)] = picture
                check()
            return
        for row, batch in enumerate(_batches(path, info, indices, size, threads, mask, fit)):
            target[row] = batch
            check()
            if row + 1 == kept < len(segments):  # whoever decodes the rest decodes to the end
                break


def stream(
    path: str,
    info: Probe,
    output: IO[bytes],
    frames_per_segment: int,
    segment_length: int,
    size: Sequence[int],
    threads: int,
    mask: Sequence[Polygon] = (),
    view: str = "segments",
    fit: str = "stretch",
    first: int = 0,
) -> None:
    """Write each segment's frames to `output` as bytes; hhvad.media.probe.stream_segments reads.

    Before each segment stands the byte FRAMES.
    """
    from hhvad.media import samplers as sampling

    _, indices = sampling.plan(info.frames, view, frames_per_segment, segment_length, info.damaged)
    for batch in _batches(path, info, indices[first:], size, threads, mask, fit):
        output.write(FRAMES)
        output.write(batch.data)


def _batches(
    path: str,
    info: Probe,
    indices: NDArray[np.int64],
    size: Sequence[int],
    threads: int,
    mask: Sequence[Polygon],
    fit: str = "stretch",
) -> Iterator[Picture]:
    """The frames of each segment, uint8 [F, H, W, 3], in one array that is used again.

    indices: [S, F].
    """
    import numpy as np

    frames = indices.shape[1]
    batch = np.empty((frames, *size, 3), np.uint8)
    wanted = indices.ravel().tolist()
    for number, picture in enumerate(_resized(path, info, wanted, size, threads, mask, fit)):
        column = number % frames
        batch[column] = picture
        if column == frames - 1:
            yield batch


def _resized(
    path: str,
    info: Probe,
    wanted: list[int],
    size: Sequence[int],
    threads: int,
    mask: Sequence[Polygon],
    fit: str,
) -> Iterator[Picture]:
    """These frames, in ascending order, uint8 [H, W, 3] each, without what `mask` hides."""
    height, width = size
    ahead = _AHEAD // (info.height * info.width * 3)
    decoded = pictures(path, info, wanted, threads)
    if mask:
        from hhvad.media.mask import hide

        decoded = hide(decoded, mask)
    coming = _in_thread(decoded, max(2, ahead))
    if (height, width) == (info.height, info.width):
        yield from coming
        return
    from hhvad.media import resize as ways  # imported, with torch or not, while the decoder works

    resize = ways.resizer(len(wanted) * info.height * info.width)
    if fit == "crop":
        resize = ways.cropping(resize)
    for picture in coming:
        # Not picture[None]: torch does not see through its strides and copies.
        yield resize(picture.reshape(1, *picture.shape), (height, width))[0]


def thumbnails(
    path: str, info: Probe, out: str, video: str, count: int, width: int, seconds: float
) -> None:
    """Write the artifact `thumbnails`; hhvad.media.probe.sample_thumbnails says what it is.

    seconds: after which no more pictures are waited for.
    """
    import numpy as np
    from PIL import Image

    from hhvad.artifacts import hdf5 as artifacts
    from hhvad.media import samplers as sampling

    end = time.monotonic() + seconds
    shown = info.undamaged()
    wanted = shown[sampling.uniform(0, len(shown), min(count, len(shown)))].tolist()
    aspect = float(Fraction(info.pixel_aspect)) * info.width / info.height
    size = (width, max(1, round(width / aspect)))
    small: list[Picture] = []
    with suppress(VideoError):
        for picture in pictures(path, info, wanted):
            small.append(np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BOX)))
            if len(small) == len(wanted) or time.monotonic() > end:
                break
    if not small and info.decoder == "decord":
        raise VideoError("decord decodes none of it")
    kept = np.array(wanted[: len(small)], dtype=np.int64)
    arrays: dict[str, Any] = {
        "pictures": np.stack(small) if small else np.zeros((0, size[1], size[0], 3), np.uint8),
        "frames": kept,
        "seconds": info.times.all_seconds(kept),
    }
    source = {"bytes": info.bytes, "fingerprint": info.fingerprint}
    given = {"video": video, "count": count, "width": width, "source": source}
    artifacts.write(out, "thumbnails", arrays, given)


def _in_thread(items: Iterable[Any], ahead: int) -> Iterator[Any]:
    """The items, made in a thread of their own that starts at once and is up to `ahead` ahead."""
    ready: queue.Queue[tuple[Any, BaseException | None]] = queue.Queue(ahead)
    end = object()

    def make() -> None:
        try:
            for item in items:
                ready.put((item, None))
            ready.put((end, None))
        except BaseException as error:
            ready.put((end, error))

    threading.Thread(target=make, daemon=True).start()

    def take() -> Iterator[Any]:
        while True:
            item, error = ready.get()
            if error is not None:
                raise error
            if item is end:
                return
            yield item

    return take()


def pictures(path: str, info: Probe, indices: Sequence[int], threads: int = 1) -> Iterator[Picture]:
    """RGB pictures uint8 [height, width, 3] of the frames `indices`, which must not decrease.

    The file is decoded once, in order, never seeking back, and to its end: only if the iterator
    ends without VideoError are the pictures known to be the right frames.
    """
    wanted = list(dict.fromkeys(indices))
    for start, end in info.damaged:
        if lost := [index for index in wanted if start <= index < end]:
            raise VideoError(f"frame {lost[0]} of it is damaged; there is no picture")
    found = (_decord if info.decoder == "decord" else _pyav)(path, info, wanted, threads)
    position = -1
    for index in indices:
        if index != position:
            position, picture = index, next(found)
        yield picture
    for _ in found:  # decodes to the end of the file
        raise AssertionError("a picture that nobody asked for")


class _Packets(NamedTuple):
    """What a file's packets say: of its video stream, and from when to when any stream goes."""

    shown: list[tuple[int | None, int | None]]  # pts and dts of those that an edit list does show
    total: int
    earliest: Fraction  # seconds on the container's clock
    latest: Fraction
    joins: list[int]  # bytes at which its clock steps back


def probe(path: str, on_damage: str) -> Probe:
    """hhvad.media.probe.probe says what this does."""
    import av

    try:
        with av.open(path, **_OPEN) as container:
            stream = _video_stream(container)
            width, height = stream.codec_context.width, stream.codec_context.height
            codec = stream.codec_context.name
            rate = stream.average_rate or stream.guessed_rate or Fraction(0)
            if not (
                0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE and width * height <= MAX_PIXELS
            ):
                raise VideoError(f"its header claims frames of {width} x {height}; it is damaged")
            if not 0 < rate <= 10_000:
                raise VideoError(f"its header claims {rate} frames a second; it is damaged")
            unit = stream.time_base or Fraction(0)
            kind = container.format.name
            # A file that was cut without writing its tags anew claims its old length in them.
            length = min(_seconds(stream.metadata.get("DURATION", "")), _length(container))
            promised = stream.frames
            if kind == "avi":  # counts the empty packets that lengthen a frame
                promised, length = 0, float(promised * unit)
            if stream.start_time is None and stream.guessed_rate:  # raw: the codec knows its rate
                rate = stream.guessed_rate
            pixel_aspect = stream.sample_aspect_ratio or Fraction(1)
            started = container.metadata.get("creation_time", "")
            packets = _packets(container, stream)
            losses = _losses(path, container, packets.joins)
    except av.FFmpegError as error:
        raise VideoError(f"is not a video that can be read ({error.strerror})") from error
    # An edit list hides frames, at either end or between.
    edited = len(packets.shown) < packets.total
    if promised > packets.total and kind.startswith("mov"):
        whole = _count_samples(path)
        edited, promised = True, 0 if whole >= promised else promised
    if promised > packets.total:
        raise VideoError(
            f"only {packets.total} of its {promised} frames are there; it is truncated"
        )
    if not packets.shown:
        raise VideoError("there are no frames in it")
    skips = on_damage == SKIP and not edited and kind.startswith(_TIMED)
    if losses and not skips:
        raise VideoError(f"packets of it are lost or damaged at byte {losses[0]}; it is damaged")
    first, filled = _around_damage(path, unit, rate) if skips else (None, None)
    first = first or _first_frame(path)
    stamps = _presented(packets.shown, by_dts=kind == "avi")
    damaged = tuple(filled.damaged) if filled else ()
    if filled and damaged:
        stamps, count = filled.stamps, len(filled.stamps)
    elif (
        codec not in _FRAME_PER_PACKET
        or stamps is None
        or first.pts != stamps[0]
        or first.interlaced_frame
        or edited
    ):
        decoded = [frame.pts for frame in _frames(path, 1, None)]
        if not (kind == "avi" and stamps is not None and len(stamps) == len(decoded)):
            stamps = None if None in decoded else decoded
        count = len(decoded)
    else:
        count = len(stamps)
    if length > packets.latest + max(1, 2 / rate):
        raise VideoError(
            f"only {float(packets.latest):.1f} of its {length:.1f} seconds are there; "
            "it is truncated"
        )
    if stamps:
        late = stamps[0] * unit - packets.earliest
        times = FrameTimes.of(stamps, unit, rate, late if late >= LATE else Fraction(0))
    else:
        times = FrameTimes(count, rate)
    rate = _average_rate(rate, times)
    if not times.is_constant:
        times = replace(times, rate=rate)
    orientation = _orientation(first)
    if orientation.rotation % 180:
        width, height, pixel_aspect = height, width, 1 / pixel_aspect
    size = Path(path).stat().st_size
    decord = (
        orientation == UPRIGHT
        and not damaged
        and kind.startswith(("mov", "matroska"))  # elsewhere it loses frames
        and not edited
        and stamps is not None
        and len(set(stamps)) == count
        and max(stamps) * unit < _DECORD_SECONDS
        and size + count * width * height * 3 <= _DECORD_MEMORY
        and _count(path, count) == count  # whole: decord does not tell what it made up
        and _decord_agrees(path, count, _picture(first, height, width))
    )
    return Probe(
        fps=float(rate),
        fps_fraction=f"{rate.numerator}/{rate.denominator}",
        frames=count,
        width=width,
        height=height,
        duration=times.seconds(count),
        codec=codec,
        rotation=orientation.rotation,
        mirrored=orientation.mirrored,
        pixel_aspect=str(pixel_aspect if Fraction(1, 10) <= pixel_aspect <= 10 else 1),
        decoder="decord" if decord else "pyav",
        bytes=size,
        fingerprint=fingerprint(path),
        started=_utc(started),
        times=times,
        damaged=damaged,
    )


def _packets(container: Any, stream: Any) -> _Packets:
    """Read all packets of a file."""
    shown, count, latest = [], 0, Fraction(0)
    starts: dict[int, Fraction] = {}
    joins: list[int] = []
    clock = None
    for packet in container.demux():
        if not packet.size:
            continue
        if packet.stream.index == stream.index:
            if clock is not None and packet.dts is not None and packet.dts < clock:
                joins.append(packet.pos or 0)
            clock = clock if packet.dts is None else packet.dts
            count += 1
            if not packet.is_discard:  # cut off by an edit list, decoded but never shown
                shown.append((packet.pts, packet.dts))
        stamp = packet.dts if packet.pts is None else packet.pts
        if stamp is None or not packet.time_base or packet.stream.type not in ("video", "audio"):
            continue
        if not packet.is_discard:
            starts.setdefault(packet.stream.index, stamp * packet.time_base)
        latest = max(latest, (stamp + (packet.duration or 0)) * packet.time_base)
    return _Packets(shown, count, min(starts.values(), default=Fraction(0)), latest, joins)


def _losses(path: str, container: Any, joins: list[int]) -> list[int]:
    """The bytes at which packets of a transport stream are lost; none in other containers.

    joins: where in the file recordings were appended to each other: there its counter jumps, too.
    """
    if container.format.name != "mpegts":
        return []
    found = transport.losses(path, _video_stream(container).id)
    return [at for at in found if not any(abs(at - join) <= _NEAR_JOIN for join in joins)]


def _undamaged(path: str) -> Iterator[Any]:
    """As damage.undamaged, of a file; VideoError where it cannot be read to its end."""
    import av

    try:
        with av.open(path, **_OPEN) as container:
            losses = _losses(path, container, _packets(container, _video_stream(container)).joins)
        with av.open(path, **_OPEN) as container:
            yield from damage.undamaged(container, _video_stream(container), losses)
    except av.FFmpegError as error:
        raise VideoError(f"it cannot be read to its end ({error.strerror})") from error


def _around_damage(path: str, unit: Fraction, rate: Fraction) -> tuple[Any, damage.Filled]:
    """The first undamaged frame of a file, and when all its frames are shown, lost ones too."""
    first: Any = None
    found: list[int | damage.Skipped] = []
    for one in _undamaged(path):
        is_frame = not isinstance(one, damage.Skipped)
        first = first or (one if is_frame else None)
        found.append(one.pts if is_frame else one)
    if first is None:
        raise VideoError("none of its frames is undamaged")
    return first, damage.fill(found, unit, rate)


def _presented(packets: list[tuple[int | None, int | None]], *, by_dts: bool) -> list[int] | None:
    """Stamps of packets (pts, dts) in the order in which they are shown; None where one has none.

    They are sorted within each stretch of a clock that steps on: where that goes back, recordings
    were appended to each other. by_dts: the container (AVI) knows no other times.
    """
    stretches: list[list[int]] = [[]]
    clock = None
    for pts, dts in packets:
        stamp = dts if by_dts else pts
        if stamp is None:
            return None
        if clock is not None and dts is not None and dts < clock:
            stretches.append([])
        clock = clock if dts is None else dts
        stretches[-1].append(stamp)
    return [stamp for stretch in stretches for stamp in sorted(stretch)]


def _count_samples(path: str) -> int:
    """How many frames an MP4 has, those included that its edit list hides."""
    import av

    opening = {**_OPEN, "options": {**_OPEN["options"], "ignore_editlist": "1"}}
    with av.open(path, **opening) as container:
        return sum(1 for packet in container.demux(_video_stream(container)) if packet.size)


def _average_rate(claimed: Fraction, times: FrameTimes) -> Fraction:
    """Frames a second: as claimed, unless neither the mean nor the median interval bears it out.

    A variable rate moves both. Gaps count for neither.
    """
    import numpy as np

    intervals = np.diff(times.all_seconds(np.arange(times.count)))
    intervals = np.delete(intervals, [gap.frame - 1 for gap in times.gaps])
    if not intervals.any():
        return claimed
    mean, median = float(intervals.mean()), float(np.median(intervals))
    if any(abs(interval * claimed - 1) <= 0.01 for interval in (mean, median)):
        return claimed
    return Fraction(1 / mean).limit_denominator(100_000)


def _utc(text: str) -> str | None:
    """A container's creation time as ISO 8601 in UTC; None where it is none, or a clock's zero."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return None
    return utc(time) if time.year >= FIRST_YEAR else None


def _video_stream(container: Any) -> Any:
    from av.stream import Disposition

    stream = container.streams.best("video")
    if stream is None or Disposition.attached_pic in stream.disposition:
        raise VideoError("there is no video stream in it")
    if stream.codec_context is None:
        raise VideoError("its codec is unknown to this build of ffmpeg")
    return stream


def _length(container: Any) -> float:
    """Seconds to the end of the file as its header claims; 0 where it claims nothing."""
    return float((container.duration or 0) + max(0, container.start_time or 0)) / 1e6


def _seconds(text: str) -> float:
    """Matroska's DURATION tag, hours:minutes:seconds; 0 where there is none."""
    try:
        hours, minutes, seconds = (float(part) for part in text.split(":"))
    except ValueError:
        return 0.0
    return 3600 * hours + 60 * minutes + seconds


def _first_frame(path: str) -> Any:
    import av

    try:
        with av.open(path, **_OPEN) as container:
            for frame in container.decode(_video_stream(container)):
                return frame
    except av.FFmpegError as error:
        raise VideoError(f"its first frame does not decode ({error.strerror})") from error
    raise VideoError("none of its frames decodes")


def _decord_agrees(path: str, count: int, first: Picture) -> bool:
    """Whether decord opens the file, counts as many frames and sees the same first picture.

    False where there is no decord: it has no wheel for Apple silicon and Linux on ARM.
    """
    import numpy as np

    try:
        import decord
    except ImportError:
        return False
    decord.logging.set_level(decord.logging.QUIET)
    try:
        reader = decord.VideoReader(path, num_threads=1)
        if len(reader) != count:
            return False
        picture = reader.next().asnumpy()
    except _decord_errors():
        return False
    if picture.shape != first.shape:
        return False
    return bool(np.abs(picture.astype(np.int16) - first).mean() < 2)


def _decord_errors() -> tuple[type[Exception], ...]:
    from decord._ffi.base import DECORDError, DECORDLimitReachedError

    return DECORDError, DECORDLimitReachedError, RuntimeError, AssertionError, StopIteration


def _decord(path: str, info: Probe, wanted: list[int], threads: int) -> Iterator[Picture]:
    """The pictures asked for. Every frame up to the last is decoded, and none is made up.

    decord fills in for frames that do not decode; fault_tol forbids that. skip_frames saves the
    conversion to RGB, but it seeks where it would pass a key frame and then lands on another frame
    (AVI, MPEG-4, open groups of pictures), so key frames are reached by next().
    """
    try:
        import decord
    except ImportError as error:  # the probe is of another machine
        raise VideoError("decord, which its probe names, is not installed") from error
    decord.logging.set_level(decord.logging.QUIET)
    asked = set(wanted)
    try:
        reader = decord.VideoReader(path, num_threads=threads, fault_tol=1e-9)
        if len(reader) != info.frames:
            raise VideoError(f"decord counts {len(reader)} frames, not {info.frames}")
        keys = iter([*reader.get_key_indices(), info.frames])
        position, key = 0, 0  # the next frame, and the first key frame behind it
        for index in sorted(asked | {info.frames - 1}):
            while position < index:
                while key <= position:
                    key = next(keys)
                if min(index, key - 1) > position:
                    reader.skip_frames(min(index, key - 1) - position)
                    position = min(index, key - 1)
                else:
                    reader.next()
                    position += 1
            picture = reader.next().asnumpy()
            position += 1
            if picture.shape[:2] != (info.height, info.width):
                raise VideoError(f"decord sees frame {index} in shape {picture.shape}")
            if index in asked:
                yield picture
    except _decord_errors() as error:
        raise VideoError("decord does not decode all of it; it is damaged") from error


def _pyav(path: str, info: Probe, wanted: list[int], threads: int) -> Iterator[Picture]:
    """The pictures asked for, upright; all frames are decoded and counted."""
    from av.video.reformatter import VideoReformatter

    left, convert = iter(wanted), VideoReformatter()
    index = next(left, None)
    frames = enumerate(_frames(path, threads, info.frames))
    for position, frame in _numbered(path, info) if info.damaged else frames:
        if position == index:
            yield _picture(frame, info.height, info.width, convert)
            index = next(left, None)


def _numbered(path: str, info: Probe) -> Iterator[tuple[int, Any]]:
    """The undamaged frames of a damaged file with their numbers."""
    frames = (one for one in _undamaged(path) if not isinstance(one, damage.Skipped))
    for number, frame in zip_longest(info.undamaged().tolist(), frames):
        if number is None or frame is None:
            raise VideoError("another part of it decodes than the probe says; probe it again")
        yield number, frame


def _count(path: str, expected: int | None) -> int:
    return sum(1 for _ in _frames(path, 1, expected))


def _frames(path: str, threads: int, expected: int | None) -> Iterator[Any]:
    """All frames of a file, as PyAV decodes them; VideoError unless they are the `expected` ones.

    Behind a frame that does not decode no frame's number is known: none is given any more, but they
    are counted, for the message.
    """
    import av

    count, damage = 0, ""
    try:
        with av.open(path, **_OPEN) as container:
            stream = _video_stream(container)
            stream.codec_context.thread_count = threads
            stream.thread_type = "AUTO"
            for packet in container.demux(stream):
                if not packet.size and packet.dts is not None:
                    continue  # lengthens the frame before; to a decoder, it would be the end
                try:
                    decoded = packet.decode()
                except av.FFmpegError as error:
                    damage = damage or f" ({error.strerror})"
                    continue
                for frame in decoded:
                    if frame.is_corrupt:  # filled in from its neighbours
                        damage = damage or f" (frame {count} is made up in part)"
                    count += not frame.is_corrupt
                    if not damage:
                        yield frame
    except av.FFmpegError as error:
        damage = damage or f" ({error.strerror})"
    if damage or (expected is not None and count < expected):
        of = "its" if expected is None else f"its {expected}"
        raise VideoError(f"only {count} of {of} frames decode{damage}; it is damaged or truncated")
    if expected is not None and count > expected:
        raise VideoError(f"it holds {count} frames, the probe counted {expected}; probe it again")


class Orientation(NamedTuple):
    """How a stored picture becomes upright: degrees clockwise, then mirrored left to right."""

    rotation: int
    mirrored: bool


UPRIGHT = Orientation(0, False)

# By the signs of the display matrix's a, b, c, d: pixel (x, y) is shown at (ax + cy, bx + dy).
_ORIENTATIONS = {
    (1, 0, 0, 1): UPRIGHT,
    (0, 1, -1, 0): Orientation(90, False),
    (-1, 0, 0, -1): Orientation(180, False),
    (0, -1, 1, 0): Orientation(270, False),
    (-1, 0, 0, 1): Orientation(0, True),
    (0, 1, 1, 0): Orientation(90, True),
    (1, 0, 0, -1): Orientation(180, True),
    (0, -1, -1, 0): Orientation(270, True),
    (0, 0, 0, 0): UPRIGHT,
}


def _orientation(frame: Any) -> Orientation:
    """How a frame is to be turned. Raises VideoError where that is by no right angle."""
    import numpy as np
    from av.sidedata.sidedata import Type

    data = frame.side_data.get(Type.DISPLAYMATRIX)
    if data is None:
        return UPRIGHT
    matrix = np.frombuffer(bytes(data), np.int32)[[0, 1, 3, 4]].astype(np.float64)
    small = np.abs(matrix) < 0.02 * np.abs(matrix).max()  # turned by less than a degree
    found = _ORIENTATIONS.get(tuple(np.where(small, 0, np.sign(matrix)).astype(int).tolist()))
    if found is None:
        degrees = -int(frame.rotation) % 360
        raise VideoError(f"its picture is to be turned by {degrees} degrees, no right angle")
    return found


def _picture(frame: Any, height: int, width: int, convert: Any = None) -> Picture:
    """A frame as RGB [height, width, 3], turned upright; a stream may change its size midway.

    convert: PyAV's VideoReformatter, which is dear to make and good for many frames.
    """
    import numpy as np
    from av.video.reformatter import VideoReformatter

    rotation, mirrored = _orientation(frame)
    if rotation % 180:
        height, width = width, height
    convert = convert or VideoReformatter()
    plane = convert.reformat(frame, width=width, height=height, format="rgb24").planes[0]
    rows = np.frombuffer(plane, np.uint8).reshape(height, plane.line_size)  # padded at their ends
    upright = np.rot90(rows[:, : width * 3].reshape(height, width, 3), -rotation // 90)
    return np.ascontiguousarray(upright[:, ::-1] if mirrored else upright)


if __name__ == "__main__":
    main()
