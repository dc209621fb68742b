"""The resident process: one loaded model that answers jobs. Jobs use `hhvad.resident.client`.

Torch is imported by the load alone, so that the first job hears from the process at once. One
thread a connection reads, writes and reports; one worker computes, in the order of arrival.

A job names its prompt and its siblings, the run's other prompts for the same video. The worker runs
those not yet computed on the one visual prefix and keeps their features until their own jobs come.

A failure that is not the user's (a bug, a broken device) is told to the job that met it and ends
the process: the jobs in the queue find, or start, another one.
"""

from __future__ import annotations

import logging
import os
import queue
import shutil
import signal
import socket
import sys
import threading
import time
import traceback
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from hhvad.errors import ArtifactError, HHVADError, ModelError
from hhvad.records import HeadId
from hhvad.resident import client as resident
from hhvad.resident.client import Message, Report, peer_uid

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

KEPT_BYTES = 512 * 2**20  # features of siblings that wait for their jobs
_TICK = 0.1  # seconds between two looks at clients and signals
_PROGRESS_EVERY = 0.2  # seconds

Key = tuple[Any, ...]


class CaptureEngine(Protocol):
    """What the process needs of `hhvad.mllm.engine.Engine`."""

    @property
    def info(self) -> Any:
        """architecture, layers, heads, head_dim, dtype, device, fingerprint."""

    def text(self, prompt: str, n_frames: int) -> str:
        """The exact text that the model reads."""

    def capture(
        self,
        frames: Any,
        prompts: Sequence[str],
        *,
        heads: Sequence[HeadId] | None = None,
        batch_size: int | Literal["auto"] = "auto",
        progress: Callable[[int, int], None] | None = None,
    ) -> list[NDArray[np.float32]]:
        """Head features a prompt: [S, L, H, D], or [S, n, D] of `heads`."""


Load = Callable[[], CaptureEngine]


class _Gone(Exception):
    """The job's client hung up while its features were being computed."""


@dataclass
class Job:
    """One request, checked: what to compute and where to write it."""

    frames: Path
    out: Path
    prompt: str
    prompt_id: str
    siblings: tuple[str, ...]
    heads: tuple[HeadId, ...] | None
    batch_size: int | Literal["auto"]
    model_name: str
    revision: str | None
    provenance: dict[str, Any]
    segments: NDArray[np.int64]  # [S, 2]
    shape: tuple[int, ...]  # of the frames, [S, F, H, W, 3]
    identity: Key  # of the frames file's content
    events: queue.SimpleQueue[Message | None] = field(default_factory=queue.SimpleQueue)
    saw_loading: bool = False
    was_kept: bool = False  # answered from a sibling's pass
    gone: bool = False  # nobody waits for it any more

    @classmethod
    def read(cls, message: Message) -> Job:
        """Check a request and the header of its frames file. Raises ArtifactError, ConfigError."""
        from hhvad.artifacts.hdf5 import open_artifact

        path = Path(message["frames"])
        with open_artifact(path, "frames") as (file, provenance):
            missing = [name for name in ("frames", "segments") if name not in file]
            missing += [name for name in _SAMPLING if name not in provenance]
            shape = () if missing else file["frames"].shape
            segments: Any = None if missing else file["segments"][()]
        if missing:
            raise ArtifactError(f"{path}: {missing[0]!r} is absent; delete the file and rerun")
        if len(shape) != 5 or 0 in shape:
            raise ArtifactError(f"{path}: holds no frames (shape {list(shape)}); sample them again")
        found = path.stat()
        identity = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
        return cls(
            frames=path,
            out=Path(message["out"]),
            prompt=message["prompt"],
            prompt_id=message["prompt_id"],
            siblings=tuple(dict.fromkeys(message["siblings"])),
            heads=_wanted_heads(message),
            batch_size=message["batch_size"],
            model_name=message["model_name"],
            revision=message["revision"],
            provenance=provenance,
            segments=segments,
            shape=shape,
            identity=(str(path), *identity, repr(sorted(provenance.items()))),
        )

    def pending(self) -> Iterator[Message]:
        """The events that nobody has sent yet."""
        while True:
            try:
                event = self.events.get_nowait()
            except queue.Empty:
                return
            if event is not None:
                yield event

    def key(self, prompt: str) -> Key:
        """What the features of this job under `prompt` depend on, for one loaded model."""
        return (*self.identity, self.heads, self.batch_size, prompt)


_SAMPLING = (
    *("video", "view", "frames", "segment_length", "size", "resize"),
    *("fps", "n_frames", "decoder"),
)


def _wanted_heads(message: Message) -> tuple[HeadId, ...] | None:
    if message["experts"] is not None:
        from hhvad.artifacts import hdf5 as artifacts

        file = artifacts.read(message["experts"], "experts", ("experts",))
        for key, wanted in (("model", message["model_name"]), ("revision", message["revision"])):
            found = file.provenance.get(key)
            if found != wanted:
                raise ArtifactError(
                    f"{file.path}: its experts are those of {key} {found!r}, not of {wanted!r}; "
                    "identify the heads of this model"
                )
        return tuple(HeadId(int(layer), int(head)) for layer, head in file["experts"])
    if message["heads"] is None:
        return None
    return tuple(HeadId(layer, head) for layer, head in message["heads"])


def features_of(
    engine: CaptureEngine, job: Job, prompts: Sequence[str], report: Report
) -> list[NDArray[np.float32]]:
    """The features of a job's frames under each of `prompts`.

    `report` gets `progress` events, and the engine's log as `note` events. Raises what the engine
    raises, ArtifactError where the frames are damaged.
    """
    from hhvad.artifacts.hdf5 import open_artifact

    reported = 0.0

    def progress(done: int, total: int) -> None:
        nonlocal reported
        now = time.monotonic()
        if now - reported > _PROGRESS_EVERY or done == total:
            reported = now
            report({"event": "progress", "done": done, "total": total})

    with _notes(report), open_artifact(job.frames, "frames") as (file, _):
        try:
            return engine.capture(
                file["frames"],
                prompts,
                heads=job.heads,
                batch_size=job.batch_size,
                progress=progress,
            )
        except (RuntimeError, KeyError) as error:  # the engine's: not to be told as a damaged file
            failure = error
    raise failure


@contextmanager
def _notes(report: Report) -> Iterator[None]:
    """What the package logs meanwhile, as `note` events."""
    logger = logging.getLogger("hhvad")
    handler = logging.Handler(logging.INFO)
    handler.emit = lambda record: report(  # type: ignore[method-assign]
        {"event": "note", "text": record.getMessage()}
    )
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


def write_features(engine: CaptureEngine, job: Job, features: NDArray[np.float32]) -> None:
    """Write a job's features with all that they were made from."""
    import numpy as np

    from hhvad.artifacts import hdf5 as artifacts

    arrays: dict[str, NDArray[Any]] = {
        "features": features.astype(np.float32, copy=False),
        "segments": job.segments.astype(np.int64, copy=False),
    }
    if job.heads is not None:
        arrays["heads"] = np.array(job.heads, dtype=np.int64).reshape(-1, 2)
    given, info = job.provenance, engine.info
    provenance = {
        "video": given["video"],
        "model": job.model_name,
        "revision": job.revision,
        "fingerprint": info.fingerprint,
        "architecture": info.architecture,
        "dtype": info.dtype,
        "prompt": job.prompt_id,
        "prompt_text": job.prompt,
        "view": given["view"],
        "sampling": {k: given[k] for k in ("frames", "segment_length", "size", "resize")},
        "decoder": given["decoder"],
        "fps": given["fps"],
        "n_frames": given["n_frames"],
    }
    artifacts.write(job.out, "features", arrays, provenance)


def capture_here(load: Load, message: Message, report: Report) -> Message:
    """Do one job in this process: the same code, the same bytes, without the resident."""
    job = Job.read(message)
    report({"event": "loading"})
    begin = time.monotonic()
    engine = load()
    report(_loaded(engine, time.monotonic() - begin))
    report({"event": "text", "text": engine.text(job.prompt, job.shape[1])})
    report({"event": "started"})
    (features,) = features_of(engine, job, [job.prompt], report)
    write_features(engine, job, features)
    return _done(job)


def _loaded(engine: CaptureEngine, seconds: float) -> Message:
    info = engine.info
    what = f"{info.architecture}, {info.layers} layers x {info.heads} heads, {info.dtype}"
    where = f"{info.device}, process {os.getpid()},"
    return {"event": "loaded", "what": f"{what} on {where}", "seconds": round(seconds, 3)}


def _done(job: Job) -> Message:
    return {"event": "done", "segments": job.shape[0], "kept": job.was_kept}


class Server:
    """Accepts connections until idle, stopped, terminated or spoilt. Its log is stderr."""

    def __init__(self, listener: socket.socket, load: Load, idle_timeout: float) -> None:
        self._listener = listener
        self._load = load
        self._idle_timeout = idle_timeout
        self._worker = ThreadPoolExecutor(max_workers=1)
        self._engine: Future[CaptureEngine] | None = None
        self._lock = threading.Lock()  # of all that follows
        self._open: dict[int, str] = {}  # frames path of each job that is not answered yet
        self._kept: OrderedDict[Key, NDArray[np.float32]] = OrderedDict()
        self._delivered: set[Key] = set()
        self._texts: dict[tuple[str, int], str] = {}  # by prompt and number of frames
        self._told: set[str] = set()
        self._seconds = 0.0  # that the load took
        self._number = 0
        self._idle_since = time.monotonic()
        self._stopping = False  # leave when the open jobs are answered
        self._spoilt = False  # and take no new ones
        self._leaving = False
        self.terminated = False  # leave now
        self.writing = threading.Lock()  # who exits the process holds it, so no file is half done

    def run(self) -> None:
        """Serve until it is time to leave; the caller removes the folder and exits."""
        self._listener.settimeout(_TICK)
        while not self._is_over():
            try:
                connection, _ = self._listener.accept()
            except TimeoutError:
                continue
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()
        self._listener.close()

    def _is_over(self) -> bool:
        with self._lock:
            idle = time.monotonic() - self._idle_since > self._idle_timeout
            done = not self._open and (idle or self._stopping or self._spoilt)
            self._leaving = self.terminated or done
            return self._leaving

    def _serve(self, connection: socket.socket) -> None:
        """One connection: one request."""
        with connection:
            connection.settimeout(None)
            if peer_uid(connection) != os.getuid():
                _log("refused a request of another user")
                return
            try:
                message = resident.receive(connection)
                if message is None:
                    return
                if message.get("op") == "capture":
                    self._capture(connection, message)
                elif message.get("op") == "status":
                    resident.send(connection, self._status(str(message.get("frames"))))
                elif message.get("op") == "stop":
                    resident.send(connection, self._stop(message.get("allocation")))
            except ConnectionError as error:  # of this one client; its job is dropped
                _log(f"a client hung up: {error}")

    def _status(self, frames: str) -> Message:
        with self._lock:
            knows = frames in self._open.values() or any(key[0] == frames for key in self._kept)
            return {"event": "status", "waiting": len(self._open), "knows": knows}

    def _stop(self, allocation: list[str] | None) -> Message:
        with self._lock:
            stops = allocation is None or allocation == resident.allocation()
            self._stopping = self._stopping or stops
            return {"event": "stop", "stops": stops, "waiting": len(self._open)}

    def _capture(self, connection: socket.socket, message: Message) -> None:
        with self._lock:
            if self._leaving or self._spoilt:
                return  # without a hello: the client asks again
            self._number += 1
            number = self._number
            self._open[number] = str(message.get("frames"))
        try:
            resident.send(connection, {"event": "hello", "pid": os.getpid()})
            last = self._answer(connection, message)
            if last is not None:
                resident.send(connection, last)
        finally:
            with self._lock:
                del self._open[number]
                self._idle_since = time.monotonic()

    def _answer(self, connection: socket.socket, message: Message) -> Message | None:
        """A job from its request to its last event; None where either side has gone."""
        try:
            job = Job.read(message)
            engine = self._the_engine()
            if not engine.done():
                job.saw_loading = True
                resident.send(connection, {"event": "loading"})
            engine.add_done_callback(lambda done: self._tell_loaded(done, job))
            features = self._take_kept(job)
            if features is None:
                future = self._submit(job)
                if future is None or not self._follow(connection, job, future):
                    return None
                features = future.result()
            for event in job.pending():
                resident.send(connection, event)
            with self.writing:
                write_features(engine.result(), job, features)
        except HHVADError as error:
            return _error(error)
        except (_Gone, CancelledError):
            return None
        with self._lock:
            self._delivered.add(job.key(job.prompt))
        return _done(job)

    def _submit(self, job: Job) -> Future[NDArray[np.float32]] | None:
        """Queue a job; None where the worker takes no more since this process is spoilt."""
        try:
            future = self._worker.submit(self._compute, job)
        except RuntimeError:  # it has been shut down
            return None
        future.add_done_callback(lambda _: job.events.put(None))
        return future

    def _follow(
        self, connection: socket.socket, job: Job, future: Future[NDArray[np.float32]]
    ) -> bool:
        """Pass a job's events on until it is computed; False where that came to nothing."""
        try:
            while True:
                try:
                    event = job.events.get(timeout=_TICK)
                except queue.Empty:
                    if self._leaving or _has_gone(connection):
                        return False
                    continue
                if event is None:
                    break
                resident.send(connection, event)
        finally:
            job.gone = True
            future.cancel()
        if future.cancelled():
            return False
        failure = future.exception()
        if failure is None or isinstance(failure, (HHVADError, _Gone, CancelledError)):
            return True  # the caller raises it
        with self._lock:
            self._spoilt = True
        self._worker.shutdown(wait=False, cancel_futures=True)
        text = "".join(traceback.format_exception(failure))
        _log(text)
        resident.send(connection, {"event": "bug", "traceback": text})
        return False

    def _the_engine(self) -> Future[CaptureEngine]:
        """The model, which the first job has loaded."""
        with self._lock:
            if self._engine is None:
                self._engine = self._worker.submit(self._timed_load)
            return self._engine

    def _timed_load(self) -> CaptureEngine:
        begin = time.monotonic()
        try:
            engine = self._load()
        except HHVADError:
            self._spoilt = True  # let the next job try again, in a new process
            raise
        self._seconds = time.monotonic() - begin
        return engine

    def _tell_loaded(self, engine: Future[CaptureEngine], job: Job) -> None:
        """Tell a job that the load is over; with its time where the job has waited for it."""
        if engine.exception() is None:
            seconds = self._seconds if job.saw_loading else 0.0
            job.events.put(_loaded(engine.result(), seconds))

    def _take_kept(self, job: Job) -> NDArray[np.float32] | None:
        """Features that a sibling's pass has left for this job."""
        with self._lock:
            features = self._kept.pop(job.key(job.prompt), None)
        if features is not None:
            job.was_kept = True
            self._tell_text(job)
        return features

    def _tell_text(self, job: Job) -> None:
        """Each wording's exact text, once: to the first job that asks it."""
        with self._lock:
            text = self._texts.get((job.prompt, job.shape[1]))
            if text is not None and text not in self._told:
                self._told.add(text)
                job.events.put({"event": "text", "text": text})

    def _compute(self, job: Job) -> NDArray[np.float32]:
        """In the worker: the features of one job; those of its siblings are kept."""
        if self._engine is None or job.gone:
            raise _Gone
        engine = self._engine.result()
        kept = self._take_kept(job)
        if kept is not None:
            return kept
        job.events.put({"event": "started"})
        self._read_text(engine, job, job.prompt)
        self._tell_text(job)
        prompts = [job.prompt, *self._wanted_siblings(engine, job)]
        begin = time.monotonic()

        def report(event: Message) -> None:
            if job.gone or self._leaving:
                raise _Gone
            job.events.put(event)

        features, *others = features_of(engine, job, prompts, report)
        seconds = time.monotonic() - begin
        _log(f"{job.frames}: {job.shape[0]} segments x {len(prompts)} prompts in {seconds:.2f} s")
        with self._lock:
            for sibling, other in zip(prompts[1:], others, strict=True):
                self._kept[job.key(sibling)] = other
            while sum(array.nbytes for array in self._kept.values()) > KEPT_BYTES:
                self._kept.popitem(last=False)
        return features

    def _read_text(self, engine: CaptureEngine, job: Job, prompt: str) -> None:
        known = (prompt, job.shape[1])
        if known not in self._texts:
            self._texts[known] = engine.text(*known)

    def _wanted_siblings(self, engine: CaptureEngine, job: Job) -> list[str]:
        """The siblings still to be computed, as many as can be kept."""
        info = engine.info
        heads = info.layers * info.heads if job.heads is None else len(job.heads)
        room = KEPT_BYTES // (4 * job.shape[0] * heads * info.head_dim)
        wanted: list[str] = []
        for text in job.siblings:
            with self._lock:
                known = job.key(text) in self._kept or job.key(text) in self._delivered
            if known or text == job.prompt or len(wanted) == room:
                continue
            try:
                self._read_text(engine, job, text)
            except HHVADError:  # its own job will say so
                continue
            wanted.append(text)
        return wanted


def _error(error: HHVADError) -> Message:
    return {"event": "error", "kind": type(error).__name__, "message": str(error)}


def _has_gone(connection: socket.socket) -> bool:
    """Whether the client has hung up: it sends nothing after its request."""
    try:
        connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False
    except ConnectionError:
        return True
    return True


def _log(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def default_load(
    model: str, *, revision: str | None, dtype: str, device: str, threads: int | None
) -> CaptureEngine:
    """Load the model with the real engine."""
    from hhvad.mllm.engine import Engine

    return Engine.load(model, revision=revision, dtype=dtype, device=device, threads=threads)


def main(
    *,
    folder: Path,
    lock: int,
    listener: int,
    code: str,
    idle_timeout: float,
    model: str,
    revision: str | None,
    dtype: str,
    device: str,
    threads: int | None,
    load: Callable[..., CaptureEngine] = default_load,
) -> None:
    """`hhvad serve-model`: go on in the background as the resident process of `folder`.

    lock and listener are inherited file descriptors. Returns only by raising ModelError, before it
    goes into the background.
    """
    if resident.code_version() != code:
        raise ModelError("the code of hhvad has just changed; run again")
    if os.fork():
        os._exit(0)
    os.set_inheritable(lock, False)
    os.set_inheritable(listener, False)

    def loading() -> CaptureEngine:
        _count_load(device)
        engine = load(model, revision=revision, dtype=dtype, device=device, threads=threads)
        if resident.code_version.__wrapped__() != code:
            raise ModelError("the code of hhvad changed while the model was loaded; run again")
        return engine

    server = Server(socket.socket(fileno=listener), loading, idle_timeout)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: setattr(server, "terminated", True))
    server.run()
    # No clean-up by the interpreter: it would wait for the computation in progress.
    server.writing.acquire()
    _leave(folder)
    os._exit(0)


def _count_load(device: str) -> None:
    """One line a load in the file HHVAD_RESIDENT_EVENTS, for who counts them."""
    path = os.environ.get("HHVAD_RESIDENT_EVENTS")
    if path:
        with Path(path).open("a") as file:
            file.write(f"load {os.getpid()} {device}\n")


def _leave(folder: Path) -> None:
    """Remove the folder of this process, whose lock it still holds."""
    leaving = folder.with_name(f"{folder.name}.{os.getpid()}")
    with suppress(FileNotFoundError):  # a session's end has removed the runtime folder
        folder.rename(leaving)  # at once: no job sees half of it
    shutil.rmtree(leaving, ignore_errors=True)
    try:
        with resident.start_question(timeout=2.0):
            resident.remove_folder(leaving)  # and the runtime folder, if this was the last
    except HHVADError:
        _log("the runtime folder is in use")
