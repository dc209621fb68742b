"""Video files: what one is, and its frames, decoded once, in order.

All decoding happens in a child process with a time limit and a memory limit: decoders hang, leak
and crash on broken files. The child is this module (`python -m hhvad.video`). It reads one JSON
line from its standard input and answers on its standard output:

| answer | meaning |
|---|---|
| `J` and JSON | the probe |
| `F` | the next picture lies in the next slot of the shared memory |
| `.` | after the last one: the file was decoded to its end, and all its frames are there |
| `E` and text | what is wrong with the file |

The shared memory is a ring of slots; a byte on the child's standard input frees the oldest.

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

import hashlib
import json
import math
import mmap
import os
import resource
import signal
import stat
import statistics
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from hhvad.errors import VideoError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Picture = NDArray[np.uint8]

MAX_SIDE = 16384  # pixels; a header that claims more is damaged
MAX_PIXELS = 64_000_000
MAX_MEMORY = 8 * 2**30  # bytes that the child may map
_SHARED = 32 * 2**20  # bytes of pictures that the child may be ahead
_DECORD_MEMORY = 384 * 2**20  # bytes of packets and pictures that decord may pile up
# The C library keeps memory that is freed: else every picture's pages come anew from the kernel.
_KEEP_FREED = {"MALLOC_MMAP_THRESHOLD_": str(2**28), "MALLOC_TRIM_THRESHOLD_": str(2**28)}
_FINGERPRINTED = 2**20  # bytes at either end of the file

_OPEN = {
    "options": {
        "protocol_whitelist": "file",
        "format_whitelist": "asf,avi,dhav,dv,flv,h264,hevc,ivf,matroska,webm,mov,mp4,mpeg,mpegts,"
        "mpegvideo,mxf,nut,obu,ogg,rm,wtv",
    },
    "metadata_errors": "replace",
}
# Codecs whose packets hold one shown frame each, so that packets can be counted for frames.
_FRAME_PER_PACKET = {"av1", "ffv1", "h264", "hevc", "libdav1d", "mjpeg", "prores", "vp9"}


@dataclass(frozen=True)
class Probe:
    """What a video file is. Frames are those that decode; sizes are of the upright picture.

    rotation: degrees by which the stored picture is turned clockwise to stand upright.
    bytes, fingerprint: the file's size, and a digest of its size and its two ends.
    """

    fps: float
    fps_fraction: str
    frames: int
    width: int
    height: int
    duration: float
    codec: str
    rotation: int
    decoder: str
    bytes: int
    fingerprint: str

    def to_json(self, video: str) -> dict[str, Any]:
        """The content of a probe file."""
        return {"video": video, **asdict(self)}


def probe(path: str | Path, timeout: float = 60.0) -> Probe:
    """What a video file is, in one pass over its packets and with one frame decoded.

    Packets count for frames where the codec makes that exact, or else all frames are decoded and
    counted. Raises VideoError: absent, unreadable, not a file, no video stream, no frames, damaged,
    or not probed within `timeout` seconds.
    """
    _require_file(path)
    with _child({"do": "probe", "path": _absolute(path)}, path, timeout) as child:
        child.expect(b"J")
        try:
            return Probe(**json.loads(child.output.read()))
        except json.JSONDecodeError:
            raise child.died() from None


@contextmanager
def frames(
    path: str | Path,
    info: Probe,
    indices: Sequence[int],
    *,
    threads: int = 1,
    timeout: float = 3600.0,
) -> Iterator[Iterator[Picture]]:
    """RGB pictures uint8 [height, width, 3] of the frames `indices`, which must not decrease.

    A context whose value yields one picture for each index, good until the next is asked for; the
    decoder starts on entering and is gone after leaving. The file is decoded once, in order, never
    seeking back, and to its end: only if the iterator ends without VideoError are the pictures
    known to be the right frames. Raises VideoError where `info` is of another file, where not all
    of its frames decode, and where `timeout` seconds are over.
    """
    _require_file(path)
    if fingerprint(path) != info.fingerprint:
        raise VideoError(f"{path}: the file has changed since it was probed; probe it again")
    job = {
        "do": "decode",
        "path": _absolute(path),
        "decoder": info.decoder,
        "threads": threads,
        "indices": list(dict.fromkeys(int(i) for i in indices)),
        "frames": info.frames,
        "size": [info.height, info.width],
    }
    picture = info.height * info.width * 3
    slots = min(max(2, _SHARED // picture), 256)
    memory = os.memfd_create("hhvad-frames")
    try:
        try:
            os.ftruncate(memory, slots * picture)
            ring = mmap.mmap(memory, slots * picture)
        except OSError as error:
            raise VideoError(
                f"{path}: no memory for {slots} decoded frames of {info.width}x{info.height} "
                f"({error.strerror}); give the job more (mem_mb), or raise its limits (ulimit)"
            ) from error
        job |= {"memory": memory, "slots": slots}
        with _child(job, path, timeout, pass_fds=(memory,)) as child:
            yield _receive(child, ring, (slots, info.height, info.width, 3), indices)
    finally:
        os.close(memory)


def _receive(
    child: _Child, memory: mmap.mmap, shape: tuple[int, ...], indices: Sequence[int]
) -> Iterator[Picture]:
    import numpy as np

    ring = np.frombuffer(memory, np.uint8).reshape(shape)
    slot, position = -1, -1
    for index in indices:
        if index != position:
            if slot >= 0:
                child.free()
            child.expect(b"F")
            slot, position = (slot + 1) % len(ring), index
        yield ring[slot]
    child.expect(b".")


def fingerprint(path: str | Path) -> str:
    """A short digest of a file's size and its first and last MiB: cheap for any size."""
    try:
        with Path(path).open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            total = hashlib.sha256(f"{size}\0".encode())
            total.update(file.read(_FINGERPRINTED))
            file.seek(max(0, size - _FINGERPRINTED))
            total.update(file.read(_FINGERPRINTED))
    except OSError as error:
        raise VideoError(f"{path}: cannot be read: {error.strerror}") from error
    return total.hexdigest()[:16]


def _absolute(path: str | Path) -> str:
    """With a leading slash no name is an option, a protocol or a pattern to the decoders."""
    return str(Path(path).absolute())


def _require_file(path: str | Path) -> None:
    """Refuse what is no ordinary, non-empty, readable file: a FIFO would never answer."""
    try:
        status = Path(path).stat()
    except OSError as error:
        raise VideoError(f"{path}: cannot be opened: {error.strerror}") from error
    except ValueError as error:
        raise VideoError(f"{str(path)!r}: is no file name: {error}") from error
    if not stat.S_ISREG(status.st_mode):
        raise VideoError(f"{path}: is not a regular file")
    if status.st_size == 0:
        raise VideoError(f"{path}: the file is empty")
    if not os.access(path, os.R_OK):
        raise VideoError(f"{path}: cannot be opened: Permission denied")


class _Child:
    """The decoding process, seen from this side of the pipe."""

    def __init__(self, path: str | Path, timeout: float, process: subprocess.Popen[bytes]) -> None:
        self.path, self.timeout, self.process = path, timeout, process
        self.late = threading.Event()
        if process.stdin is None or process.stdout is None:
            raise AssertionError("the child was started with pipes")
        self.input: IO[bytes] = process.stdin
        self.output: IO[bytes] = process.stdout

    def kill(self) -> None:
        """At the time limit."""
        self.late.set()
        self.process.kill()

    def expect(self, kind: bytes) -> None:
        """Read the next record's first byte; VideoError if it is an `E`, or none."""
        found = self.output.read(1)
        if found == b"E":
            raise VideoError(f"{self.path}: {self.output.read().decode(errors='replace')}")
        if found != kind:
            raise self.died()

    def free(self) -> None:
        """Give the oldest slot back."""
        with suppress(BrokenPipeError):  # it was the last that the child waited for, or it died
            self.input.write(b".")

    def died(self) -> VideoError:
        if self.late.is_set():
            return VideoError(
                f"{self.path}: not decoded in {self.timeout:g} s; it is damaged, or raise the limit"
            )
        code = self.process.wait()
        return VideoError(f"{self.path}: the decoder died of it (status {code}); it is damaged")


@contextmanager
def _child(
    job: dict[str, Any], path: str | Path, timeout: float, pass_fds: tuple[int, ...] = ()
) -> Iterator[_Child]:
    """The child at work on `job`. It is dead at the time limit, and when the block is left."""
    # -P: modules are not looked for in the working directory, where anything may lie.
    command = [sys.executable, "-P", "-m", "hhvad.video"]
    line = json.dumps({**job, "timeout": timeout}).encode() + b"\n"
    pipe, environment = subprocess.PIPE, {**os.environ, **_KEEP_FREED}
    with subprocess.Popen(
        command, stdin=pipe, stdout=pipe, bufsize=0, pass_fds=pass_fds, env=environment
    ) as process:
        child = _Child(path, timeout, process)
        timer = threading.Timer(timeout, child.kill)
        timer.daemon = True
        timer.start()
        try:
            # Its input stays open: the child ends when that closes, so it never outlives us.
            try:
                child.input.write(line)
            except BrokenPipeError:
                raise child.died() from None
            yield child
        finally:
            timer.cancel()
            process.kill()


# What follows runs in the child.


def _main() -> int:
    job = json.loads(sys.stdin.readline())
    free = threading.Semaphore(job.get("slots", 0))
    _limit(job["timeout"], free)
    output = _take_output()
    try:
        if job["do"] == "probe":
            output.write(b"J" + json.dumps(asdict(_probe(job["path"]))).encode())
        else:
            _send(job, output, free)
    except VideoError as error:
        output.write(b"E" + " ".join(str(error).split()).encode())
    output.flush()
    os._exit(0)  # decoders may hang in their destructors


def _send(job: dict[str, Any], output: IO[bytes], free: threading.Semaphore) -> None:
    import numpy as np

    slots, (height, width) = job["slots"], job["size"]
    memory = mmap.mmap(job["memory"], slots * height * width * 3)
    ring = np.frombuffer(memory, np.uint8).reshape(slots, height, width, 3)
    decode = _decode_decord if job["decoder"] == "decord" else _decode_av
    for number, picture in enumerate(decode(job)):
        free.acquire()
        ring[number % slots] = picture
        output.write(b"F")
        output.flush()
    output.write(b".")


def _limit(timeout: float, free: threading.Semaphore) -> None:
    """Make sure that this process ends, whatever becomes of its parent, and stays in bounds.

    Each byte that the parent sends frees a slot.
    """
    signal.alarm(math.ceil(timeout) + 5)
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    limit = MAX_MEMORY if hard == resource.RLIM_INFINITY else min(MAX_MEMORY, hard)
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

    def listen() -> None:
        while got := os.read(0, 4096):
            free.release(len(got))
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


def _probe(path: str) -> Probe:
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
            promised, length = stream.frames, _seconds(stream.metadata.get("DURATION", ""))
            if kind == "avi":  # counts the empty packets that lengthen a frame
                promised, length = 0, float(promised * unit)
            # Discarded: cut off by an edit list, decoded but never shown.
            packets = [(p.pts, p.is_discard) for p in container.demux(stream) if p.size]
    except av.FFmpegError as error:
        raise VideoError(f"is not a video that can be read ({error.strerror})") from error
    if promised > len(packets):
        raise VideoError(f"only {len(packets)} of its {promised} frames are there; it is truncated")
    stamps = [stamp for stamp, is_discard in packets if not is_discard]
    if not stamps:
        raise VideoError("there are no frames in it")
    first = _first_frame(path)
    times = sorted(stamp * unit for stamp in stamps if stamp is not None)
    count = len(stamps)
    if (
        codec not in _FRAME_PER_PACKET
        or len(times) < count
        or first.pts * unit != times[0]
        or first.interlaced_frame
    ):
        count = _count(path, expected=None)
    rate = _average_rate(rate, times)
    if times and length > times[-1] + max(1, 2 / rate):
        raise VideoError(
            f"only {float(times[-1]):.1f} of its {length:.1f} seconds are there; it is truncated"
        )
    rotation = -int(first.rotation) % 360
    if rotation % 90:
        raise VideoError(f"its picture is to be turned by {rotation} degrees, no right angle")
    if rotation % 180:
        width, height = height, width
    size = Path(path).stat().st_size
    decord = (
        rotation == 0
        and kind.startswith(("mov", "matroska"))  # elsewhere it loses frames
        and len(set(times)) == count
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
        duration=float(times[-1] - times[0] + 1 / rate if times else count / rate),
        codec=codec,
        rotation=rotation,
        decoder="decord" if decord else "pyav",
        bytes=size,
        fingerprint=fingerprint(path),
    )


def _average_rate(claimed: Fraction, times: list[Fraction]) -> Fraction:
    """Frames a second: as claimed, unless neither the mean nor the median interval bears it out.

    A variable rate moves both; a jump of the clock in a recording moves the mean alone.
    """
    intervals = [b - a for a, b in pairwise(times)]
    if not intervals or times[0] == times[-1]:
        return claimed
    mean, median = (times[-1] - times[0]) / len(intervals), statistics.median(intervals)
    if any(abs(interval * claimed - 1) <= 0.01 for interval in (mean, median)):
        return claimed
    return (1 / mean).limit_denominator(100_000)


def _video_stream(container: Any) -> Any:
    from av.stream import Disposition

    stream = container.streams.best("video")
    if stream is None or Disposition.attached_pic in stream.disposition:
        raise VideoError("there is no video stream in it")
    if stream.codec_context is None:
        raise VideoError("its codec is unknown to this build of ffmpeg")
    return stream


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
    """Whether decord opens the file, counts as many frames and sees the same first picture."""
    import decord
    import numpy as np

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


def _decode_decord(job: dict[str, Any]) -> Iterator[Picture]:
    """The pictures asked for. Every frame up to the last is decoded, and none is made up.

    decord fills in for frames that do not decode; fault_tol forbids that. skip_frames saves the
    conversion to RGB, but it seeks where it would pass a key frame and then lands on another frame
    (AVI, MPEG-4, open groups of pictures), so key frames are reached by next().
    """
    import decord

    decord.logging.set_level(decord.logging.QUIET)
    wanted = set(job["indices"])
    try:
        reader = decord.VideoReader(job["path"], num_threads=job["threads"], fault_tol=1e-9)
        if len(reader) != job["frames"]:
            raise VideoError(f"decord counts {len(reader)} frames, not {job['frames']}")
        keys = iter([*reader.get_key_indices(), job["frames"]])
        position, key = 0, 0  # the next frame, and the first key frame behind it
        for index in sorted(wanted | {job["frames"] - 1}):
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
            if list(picture.shape[:2]) != job["size"]:
                raise VideoError(f"decord sees frame {index} in shape {picture.shape}")
            if index in wanted:
                yield picture
    except _decord_errors() as error:
        raise VideoError("decord does not decode all of it; it is damaged") from error


def _decode_av(job: dict[str, Any]) -> Iterator[Picture]:
    """The pictures asked for, upright; all frames are decoded and counted."""
    from av.video.reformatter import VideoReformatter

    wanted, convert = iter(job["indices"]), VideoReformatter()
    height, width = job["size"]
    index = next(wanted, None)
    for position, frame in enumerate(_frames(job["path"], job["threads"], job["frames"])):
        if position == index:
            yield _picture(frame, height, width, convert)
            index = next(wanted, None)


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


def _picture(frame: Any, height: int, width: int, convert: Any = None) -> Picture:
    """A frame as RGB [height, width, 3], turned upright; a stream may change its size midway.

    convert: PyAV's VideoReformatter, which is dear to make and good for many frames.
    """
    import numpy as np
    from av.video.reformatter import VideoReformatter

    turns = int(frame.rotation) // 90 % 4
    if turns % 2:
        height, width = width, height
    convert = convert or VideoReformatter()
    plane = convert.reformat(frame, width=width, height=height, format="rgb24").planes[0]
    rows = np.frombuffer(plane, np.uint8).reshape(height, plane.line_size)  # padded at their ends
    return np.rot90(rows[:, : width * 3].reshape(height, width, 3), turns)


if __name__ == "__main__":
    sys.exit(_main())
