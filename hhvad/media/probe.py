"""Video files, seen from outside: what one is, and the frames of it that the model will see.

Whatever opens a video runs in a child process with a time limit and a memory limit: decoders hang,
leak and crash on broken files. The child is `python -m hhvad.media.decode`. It reads one JSON line,
the job, from its standard input and writes one, the answer, to its standard output:
`{"done": ...}`, or `{"error": class, "message": text}`. Where frames are asked for on standard
output they come before the answer, the byte FRAMES before those of each segment.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from io import BufferedReader
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hhvad import errors
from hhvad.artifacts.probe import Probe
from hhvad.errors import VideoError
from hhvad.files import sweep

if TYPE_CHECKING:  # its import takes as long as all others of the child
    from hhvad.masks import Polygon

_ENVIRONMENT = {
    # The C library keeps what is freed: else every picture's pages come anew from the kernel.
    "MALLOC_MMAP_THRESHOLD_": str(2**28),
    "MALLOC_TRIM_THRESHOLD_": str(2**28),
    "OMP_NUM_THREADS": "1",  # the job's threads decode
}
FRAMES = b"F"  # no answer starts with it
_FOREVER = 1e7  # seconds; an alarm takes 32 bits
_FINGERPRINTED = 2**20  # bytes at either end of the file


def probe(path: str | Path, timeout: float = 60.0, on_damage: str = "fail") -> Probe:
    """What a video file is, in one pass over its packets and with one frame decoded.

    Packets count for frames where the codec makes that exact, or else all frames are decoded and
    counted. on_damage: `fail`, or `skip-to-keyframe`: all frames are decoded, and those that are
    lost become `damaged`, where the container is a transport stream, MP4, MOV or Matroska.
    Raises VideoError: absent, unreadable, not a file, no video stream, no frames, damaged, or not
    probed within `timeout` seconds.
    """
    _require_file(path)
    return Probe.from_json(_in_child(path, {"do": "probe", "on_damage": on_damage}, timeout))


def sample_frames(
    path: str | Path,
    info: Probe,
    out: str | Path,
    *,
    video: str,
    view: str,
    frames_per_segment: int,
    segment_length: int,
    size: Sequence[int],
    threads: int = 1,
    timeout: float = 3600.0,
    spans: Sequence[Sequence[int]] = (),
    picked: Sequence[Sequence[int]] = (),
    mask: Sequence[Polygon] = (),
    fit: str = "stretch",
    keep_mb: int | None = None,
) -> None:
    """Write the artifact `frames` of a video: some of each of a view's segments, resized.

    video: its id; size: height and width. spans [S, 2] and picked [S, frames_per_segment]: the
    segments of views `focus` and `windows`, which may overlap, and the frames of each. mask: what
    of the picture is hidden, before it is resized (hhvad.media.mask). fit: `stretch` to the size,
    or `crop` (hhvad.media.resize.cropping). keep_mb: MiB of frames that are kept; what a longer
    video has behind them is left out (hhvad.media.frames reads it). The file is decoded once, in
    order, never seeking back, and to its end where all is kept. Where decord fails, PyAV tries: it
    reads more, and where both fail, says why.
    Raises VideoError where `info` is of another file, where not all of its frames decode, and where
    `timeout` seconds are over; ArtifactError where `out` cannot be written. Then there is no file.
    """
    _require_file(path)
    if fingerprint(path) != info.fingerprint:
        raise VideoError(f"{path}: the file has changed since it was probed; probe it again")
    job = {
        "do": "sample",
        "out": str(out),
        "video": video,
        "view": view,
        "frames_per_segment": frames_per_segment,
        "segment_length": segment_length,
        "size": list(size),
        "threads": threads,
        "spans": [list(map(int, span)) for span in spans],
        "picked": [list(map(int, frames)) for frames in picked],
        "mask": mask,
        "fit": fit,
        "keep_mb": keep_mb,
    }
    end = time.monotonic() + timeout
    try:
        try:
            _in_child(path, {**job, "info": info.to_json(video)}, timeout)
        except VideoError:
            left = end - time.monotonic()
            if info.decoder != "decord" or left <= 0:
                raise
            pyav = replace(info, decoder="pyav")
            _in_child(path, {**job, "info": pyav.to_json(video)}, left)
    finally:
        sweep(out)


def stream_segments(
    path: str | Path,
    info: Probe,
    *,
    frames_per_segment: int,
    segment_length: int,
    size: Sequence[int],
    threads: int = 1,
    timeout: float = 3600.0,
    mask: Sequence[Polygon] = (),
    view: str = "segments",
    fit: str = "stretch",
    first: int = 0,
    patient: bool = False,
) -> Iterator[np.ndarray[Any, np.dtype[np.uint8]]]:
    """The frames uint8 [F, H, W, 3] of each segment of a video in turn, without a file.

    They equal those of sample_frames, where the arguments are explained. first: the number of the
    first segment that is given. patient: the timeout is that of waiting for one segment, since the
    reader may take its time, and not that of them all. Raises VideoError as that does, at the
    latest behind the last segment.
    """
    _require_file(path)
    if fingerprint(path) != info.fingerprint:
        raise VideoError(f"{path}: the file has changed since it was probed; probe it again")
    job = {
        "do": "stream",
        "view": view,
        "fit": fit,
        "frames_per_segment": frames_per_segment,
        "segment_length": segment_length,
        "size": list(size),
        "threads": threads,
        "mask": mask,
    }
    shape = (frames_per_segment, *size, 3)

    def decoded(by: Probe, number: int) -> Iterator[np.ndarray[Any, np.dtype[np.uint8]]]:
        asked = {**job, "info": by.to_json(""), "first": number}
        return _frames_of_child(path, asked, shape, timeout, patient)

    number = first
    try:
        for frames in decoded(info, number):
            yield frames
            number += 1
        return
    except VideoError:
        if info.decoder != "decord":
            raise
    # PyAV reads more, and gives equal pictures.
    yield from decoded(replace(info, decoder="pyav"), number)


def _frames_of_child(
    path: str | Path, job: dict[str, Any], shape: tuple[int, ...], timeout: float, patient: bool
) -> Iterator[np.ndarray[Any, np.dtype[np.uint8]]]:
    """Arrays of a shape from the child's standard output; VideoError if its answer is an error."""
    with _child(path, job, timeout, patient) as (output, answer, alarm):
        begin = output.read(1)
        while begin == FRAMES:
            frames = np.empty(shape, np.uint8)
            if output.readinto(frames.data.cast("B")) < frames.nbytes:
                begin = b""
                break
            if patient:
                alarm.stop()
            yield frames
            if patient:
                alarm.set()
            begin = output.read(1)
        answer(begin + output.read())


def sample_thumbnails(
    path: str | Path,
    info: Probe,
    out: str | Path,
    *,
    video: str,
    count: int,
    width: int,
    timeout: float = 600.0,
) -> None:
    """Write the artifact `thumbnails`: up to `count` small pictures at even distances in a video.

    video: its id; width: of the pictures, whose height follows from the shape in which the video is
    shown. The frames are exact. A picture that cannot be had, from a damaged, absent or replaced
    file or within `timeout` seconds, is left out; there may be none. Raises ArtifactError where
    `out` cannot be written.
    """
    job = {
        "do": "thumbnails",
        "out": str(out),
        "video": video,
        "count": count,
        "width": width,
        "seconds": 0.4 * timeout,
    }
    try:
        for decoder in dict.fromkeys((info.decoder, "pyav")):
            try:
                _require_file(path)
                if fingerprint(path) != info.fingerprint:
                    break
                given = replace(info, decoder=decoder).to_json(video)
                _in_child(path, {**job, "info": given}, timeout / 2)
                return
            except VideoError:
                continue
    finally:
        sweep(out)
    from hhvad.artifacts import hdf5  # here, because sampling jobs have their child write

    nothing: dict[str, Any] = {
        "pictures": np.zeros((0, 1, 1, 3), np.uint8),
        "frames": np.zeros(0, np.int64),
        "seconds": np.zeros(0),
    }
    source = {"bytes": info.bytes, "fingerprint": info.fingerprint}
    provenance = {"video": video, "count": count, "width": width, "source": source}
    hdf5.write(out, "thumbnails", nothing, provenance)


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


def _in_child(path: str | Path, job: dict[str, Any], timeout: float) -> Any:
    """What the child answers to a job on the file `path`. It is dead when this returns."""
    with _child(path, job, timeout) as (output, answer, _):
        return answer(output.read())


class _Alarm:
    """Calls a function `seconds` after it was set, unless it is stopped before."""

    def __init__(self, seconds: float, call: Callable[[], None]) -> None:
        self.seconds, self.call = seconds, call
        self._timer: threading.Timer | None = None

    def set(self) -> None:
        """Set it again."""
        self.stop()
        self._timer = threading.Timer(self.seconds, self.call)
        self._timer.daemon = True
        self._timer.start()

    def stop(self) -> None:
        """Do not call."""
        if self._timer is not None:
            self._timer.cancel()


@contextmanager
def _child(
    path: str | Path, job: dict[str, Any], timeout: float, patient: bool = False
) -> Iterator[tuple[BufferedReader, Callable[[bytes], Any], _Alarm]]:
    """The child's standard output, what reads its answer, and the alarm that ends it.

    It is dead behind the block. patient: it has no alarm of its own.
    """
    # -P: modules are not looked for in the working directory, where anything may lie.
    command = [sys.executable, "-P", "-m", "hhvad.media.decode"]
    # With a leading slash no name is an option, a protocol or a pattern to the decoders.
    limit = _FOREVER if patient else timeout
    line = json.dumps({**job, "path": str(Path(path).absolute()), "timeout": limit})
    environment = {**os.environ, **_ENVIRONMENT}
    pipe, late = subprocess.PIPE, threading.Event()
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, bufsize=0, env=environment) as process:
        if process.stdin is None or process.stdout is None:
            raise AssertionError("the child was started with pipes")

        def kill() -> None:
            late.set()
            process.kill()

        def answer(text: bytes) -> Any:
            process.kill()
            process.wait()
            return _answer(path, text, f"status {process.returncode}", timeout, late.is_set())

        alarm = _Alarm(timeout, kill)
        alarm.set()
        try:
            # Its input stays open: the child ends when that closes, so it never outlives us.
            with suppress(BrokenPipeError):
                process.stdin.write(line.encode() + b"\n")
            yield BufferedReader(process.stdout), answer, alarm  # type: ignore[arg-type]
        finally:
            alarm.stop()
            process.kill()


def _answer(path: str | Path, text: bytes, status: str, timeout: float, late: bool) -> Any:
    """What the child's answer says, raised where it is an error."""
    try:
        answer = json.loads(text)
    except json.JSONDecodeError:
        if late:
            raise VideoError(
                f"{path}: not decoded in {timeout:g} s; it is damaged, or raise the limit"
            ) from None
        raise VideoError(f"{path}: the decoder died of it ({status}); it is damaged") from None
    if "error" in answer:
        kind, message = getattr(errors, answer["error"]), answer["message"]
        raise kind(f"{path}: {message}" if kind is VideoError else message)
    return answer["done"]
