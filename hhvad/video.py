"""Video files: what one is, and its frames, decoded once, in order.

All decoding happens in a child process that is killed at its time limit: decoders hang and leak on
broken files. The child is this module (`python -m hhvad.video`); it is told what to do in one JSON
line on its standard input and answers on its standard output.

decord decodes; PyAV does where decord cannot open a file, counts other frames than the container
holds, or would have to turn the picture (rotation metadata). Which one is in the probe.
"""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import IO, Any

from hhvad.errors import VideoError

MAX_SIDE = 16384  # pixels; a header that claims more is damaged
MAX_PIXELS = 64_000_000


@dataclass(frozen=True)
class Probe:
    """What a video file is. Frames are those that decode; sizes are of the upright picture."""

    fps: float
    fps_fraction: str
    frames: int
    width: int
    height: int
    duration: float
    codec: str
    rotation: int
    decoder: str

    def to_json(self, video: str) -> dict[str, Any]:
        """The content of a probe file."""
        return {"video": video, **asdict(self)}


def probe(path: str | Path, timeout: float = 60.0) -> Probe:
    """What a video file is, without decoding all of it.

    Raises VideoError: absent, unreadable, not a file, no video stream, no frames, damaged, or not
    probed within `timeout` seconds.
    """
    _require_file(path)
    with _child({"do": "probe", "path": str(path)}, path, timeout) as output:
        answer = output.read()
    try:
        return Probe(**json.loads(answer))
    except (ValueError, TypeError) as error:
        raise VideoError(
            f"{path}: the decoder died while probing it; the file is damaged"
        ) from error


def frames(
    path: str | Path,
    info: Probe,
    indices: Sequence[int],
    *,
    threads: int = 1,
    timeout: float = 3600.0,
) -> Iterator[bytearray]:
    """RGB pictures (height x width x 3 bytes) of the frames `indices`, which must not decrease.

    Decodes once, in order, and never seeks back. Raises VideoError where a frame does not decode or
    the time limit is over; what was yielded before is right.
    """
    _require_file(path)
    wanted = list(dict.fromkeys(int(i) for i in indices))
    job = {
        "do": "decode",
        "path": str(path),
        "decoder": info.decoder,
        "threads": threads,
        "indices": wanted,
        "size": [info.height, info.width],
    }
    size = info.height * info.width * 3
    with _child(job, path, timeout) as output:
        position = -1
        for index in indices:
            if index != position:
                picture = bytearray(size)
                if not _fill(output, picture):
                    raise VideoError(
                        f"{path}: frame {index} of {info.frames} does not decode; "
                        "the file is damaged or truncated"
                    )
                position = index
            yield picture


def _fill(output: IO[bytes], buffer: bytearray) -> bool:
    view, done = memoryview(buffer), 0
    while done < len(view):
        count = output.readinto(view[done:])  # type: ignore[attr-defined]
        if not count:
            return False
        done += count
    return True


def _require_file(path: str | Path) -> None:
    """Refuse what is no ordinary, non-empty, readable file: a FIFO would never answer."""
    try:
        status = Path(path).stat()
    except OSError as error:
        raise VideoError(f"{path}: cannot be opened: {error.strerror}") from error
    except ValueError as error:
        raise VideoError(f"{path!r}: is no file name: {error}") from error
    if not stat.S_ISREG(status.st_mode):
        raise VideoError(f"{path}: is not a regular file")
    if status.st_size == 0:
        raise VideoError(f"{path}: the file is empty")
    if not os.access(path, os.R_OK):
        raise VideoError(f"{path}: cannot be opened: Permission denied")


@contextmanager
def _child(job: dict[str, Any], path: str | Path, timeout: float) -> Iterator[IO[bytes]]:
    """The child's standard output. It is killed at the time limit and when the block is left."""
    child = subprocess.Popen(
        [sys.executable, "-m", "hhvad.video"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    stdin, stdout, stderr = child.stdin, child.stdout, child.stderr
    if stdin is None or stdout is None or stderr is None:
        raise AssertionError("the child was started with pipes")
    late = threading.Event()

    def end() -> None:
        late.set()
        child.kill()

    timer = threading.Timer(timeout, end)
    timer.daemon = True
    said: list[bytes] = []
    listener = threading.Thread(target=lambda: said.append(stderr.read()), daemon=True)
    try:
        timer.start()
        listener.start()
        try:
            stdin.write(json.dumps(job).encode() + b"\n")
            stdin.close()
        except BrokenPipeError:
            pass  # the child died at once; what it said is below
        failure: BaseException | None = None
        try:
            yield stdout
        except VideoError as error:
            failure = error
        if failure is None:
            child.wait()
        elif not late.is_set():
            try:
                child.wait(timeout=1)
            except subprocess.TimeoutExpired:
                child.kill()
        listener.join(timeout=5)
        if late.is_set():
            raise VideoError(f"{path}: not decoded in {timeout:g} s; broken, or raise the limit")
        for line in b"".join(said).decode(errors="replace").splitlines():
            if line.startswith("video: "):
                raise VideoError(f"{path}: {line.removeprefix('video: ')}")
        if failure:
            raise failure
    finally:
        timer.cancel()
        child.kill()
        child.wait()
        for pipe in (stdin, stdout):
            pipe.close()
        listener.join(timeout=5)
        stderr.close()


# What follows runs in the child.


def _main() -> int:
    job = json.loads(sys.stdin.readline())
    # Libraries print to standard output as they like; the pictures travel on a copy of it.
    output = os.fdopen(os.dup(1), "wb", buffering=1 << 20)
    os.dup2(2, 1)
    try:
        if job["do"] == "probe":
            output.write(json.dumps(asdict(_probe(job["path"]))).encode())
        else:
            decode = _decode_decord if job["decoder"] == "decord" else _decode_av
            decode(job, output)
        output.flush()
    except BrokenPipeError:
        pass
    except VideoError as error:
        sys.stderr.write(f"\nvideo: {' '.join(str(error).split())}\n")
        sys.stderr.flush()
    # Decoders may hang in their destructors.
    os._exit(0)


def _probe(path: str) -> Probe:
    import av

    try:
        with av.open(path) as container:
            if not container.streams.video:
                raise VideoError("there is no video stream in it")
            stream = container.streams.video[0]
            context = stream.codec_context
            if context is None:
                raise VideoError("its codec is unknown to this build of ffmpeg")
            width, height = context.width, context.height
            rate = stream.average_rate or stream.guessed_rate or Fraction(0)
            promised = stream.frames
            codec = context.name
            unit = stream.time_base
            stamps = [packet.pts for packet in container.demux(stream) if packet.size]
    except av.FFmpegError as error:
        raise VideoError(f"is not a video that can be read ({error.strerror})") from error
    count = len(stamps)
    if count == 0:
        raise VideoError("there are no frames in it")
    if not (0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE and width * height <= MAX_PIXELS):
        raise VideoError(f"its header claims frames of {width} x {height}; the file is damaged")
    if promised > count:
        raise VideoError(f"only {count} of its {promised} frames are there; the file is truncated")
    if rate <= 0 or rate > 10_000:
        raise VideoError(f"its frame rate is {rate}; the file is damaged")
    times = [stamp for stamp in stamps if stamp is not None]
    if times and unit:
        duration = float((max(times) - min(times)) * unit + 1 / rate)
    else:
        duration = float(count / rate)
    rotation = _rotation(path)
    if rotation % 180:
        width, height = height, width
    return Probe(
        fps=float(rate),
        fps_fraction=f"{rate.numerator}/{rate.denominator}",
        frames=count,
        width=width,
        height=height,
        duration=duration,
        codec=codec,
        rotation=rotation,
        decoder="decord" if rotation == 0 and _decord_counts(path) == count else "pyav",
    )


def _rotation(path: str) -> int:
    """Degrees that the first frame must be turned, from its metadata; the frame must decode."""
    import av

    try:
        with av.open(path) as container:
            for frame in container.decode(video=0):
                return int(getattr(frame, "rotation", 0)) % 360
    except av.FFmpegError as error:
        raise VideoError(f"its first frame does not decode ({error.strerror})") from error
    raise VideoError("none of its frames decodes")


def _decord_counts(path: str) -> int | None:
    """How many frames decord finds; None where it cannot read the file."""
    import decord

    decord.logging.set_level(decord.logging.QUIET)
    try:
        return len(decord.VideoReader(path, num_threads=1))
    except (decord.DECORDError, RuntimeError):
        return None


def _decode_decord(job: dict[str, Any], output: IO[bytes]) -> None:
    import decord

    decord.logging.set_level(decord.logging.QUIET)
    size = tuple(job["size"])
    try:
        reader = decord.VideoReader(job["path"], num_threads=job["threads"])
        position = 0
        for index in job["indices"]:
            if index > position:
                reader.skip_frames(index - position)
            picture = reader.next().asnumpy()
            position = index + 1
            if picture.shape[:2] != size:
                raise VideoError(f"frame {index} is {picture.shape[:2]}, the others are {size}")
            output.write(picture.data)
    except (decord.DECORDError, RuntimeError, StopIteration) as error:
        first = str(error).strip().splitlines()
        raise VideoError(f"does not decode to its end ({first[0] if first else 'eof'})") from error


def _decode_av(job: dict[str, Any], output: IO[bytes]) -> None:
    import av
    import numpy as np

    size = tuple(job["size"])
    wanted = iter(job["indices"])
    index = next(wanted, None)
    try:
        with av.open(job["path"]) as container:
            stream = container.streams.video[0]
            stream.codec_context.thread_count = job["threads"]
            stream.thread_type = "AUTO"
            for position, frame in enumerate(container.decode(stream)):
                if index is None:
                    return
                if position < index:
                    continue
                picture = frame.to_ndarray(format="rgb24")
                turns = int(getattr(frame, "rotation", 0)) // 90 % 4
                picture = np.ascontiguousarray(np.rot90(picture, turns))
                if picture.shape[:2] != size:
                    raise VideoError(f"frame {index} is {picture.shape[:2]}, the others are {size}")
                output.write(picture.data)
                index = next(wanted, None)
    except av.FFmpegError as error:
        raise VideoError(f"does not decode to its end ({error.strerror})") from error
    if index is not None:
        raise VideoError(f"frame {index} does not decode; the file is damaged or truncated")


if __name__ == "__main__":
    sys.exit(_main())
