"""The resident process: one loaded model that answers requests. Jobs use `hhvad.resident.client`.

What is asked is a task (`Task`), found by its name; nothing here knows one. The model is loaded by
the first request, so that it hears from the process at once. One thread a connection reads, writes
and reports; one worker computes, in the order of arrival.

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
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

from hhvad.errors import HHVADError, ModelError
from hhvad.resident import client
from hhvad.resident.lock import remove_folder, start_question
from hhvad.resident.wire import Connection, Message, Report, peer_uid

_TICK = 0.1  # seconds between two looks at clients and signals
_PROGRESS_EVERY = 0.2  # seconds
_OURS = ("op", "task", "about")  # keys of a message that are not the task's

J = TypeVar("J")  # a task's request, checked
R = TypeVar("R")  # its result


class Task(Protocol[J, R]):
    """One kind of request. A process makes one of each and keeps it; `compute` runs alone."""

    def read(self, message: Message) -> J:
        """Check a request. Raises HHVADError."""

    def knows(self, about: str) -> bool:
        """Whether something is kept for requests about this."""

    def kept(self, model: Any, job: J, report: Report) -> R | None:
        """A result that needs no computation any more."""

    def compute(self, model: Any, job: J, report: Report) -> R:
        """The result; `report` gets events, and raises where nobody waits for the job."""

    def write(self, model: Any, job: J, result: R) -> Message:
        """Write the artifact; what the last event says of it."""


Find = Callable[[str], Task[Any, Any]]
Load = Callable[[], Any]


class _Gone(Exception):
    """The job's client hung up while its result was being computed."""


@dataclass
class _Job:
    """One request on its way through this process."""

    task: Task[Any, Any]
    content: Any  # what the task has read
    events: queue.SimpleQueue[Message | None] = field(default_factory=queue.SimpleQueue)
    saw_loading: bool = False
    was_kept: bool = False  # answered without a computation of its own
    gone: bool = False  # nobody waits for it any more

    def pending(self) -> Iterator[Message]:
        """The events that nobody has sent yet."""
        while True:
            try:
                event = self.events.get_nowait()
            except queue.Empty:
                return
            if event is not None:
                yield event


def _content(message: Message) -> Message:
    return {key: value for key, value in message.items() if key not in _OURS}


def _calm(report: Report) -> Report:
    """The same, with `progress` events only now and then; the last one always."""
    reported = 0.0

    def calm(event: Message) -> None:
        nonlocal reported
        if event["event"] == "progress" and event["done"] != event["total"]:
            if time.monotonic() - reported < _PROGRESS_EVERY:
                return
            reported = time.monotonic()
        report(event)

    return calm


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


def do_here(load: Load, find: Find, message: Message, report: Report) -> Message:
    """Do one job in this process: the same code, the same bytes, without the resident."""
    task = find(message["task"])
    content = task.read(_content(message))
    report({"event": "loading"})
    begin = time.monotonic()
    model = load()
    report(_loaded(model, time.monotonic() - begin))
    report({"event": "started"})
    with _notes(report):
        result = task.compute(model, content, _calm(report))
    return _done(task.write(model, content, result), kept=False)


def _loaded(model: Any, seconds: float) -> Message:
    what = f"{model}, process {os.getpid()},"
    return {"event": "loaded", "what": what, "seconds": round(seconds, 3)}


def _done(said: Message, *, kept: bool) -> Message:
    return {"event": "done", **said, "kept": kept}


class Server:
    """Accepts connections until idle, stopped, terminated or spoilt. Its log is stderr."""

    def __init__(
        self, listener: socket.socket, load: Load, find: Find, idle_timeout: float
    ) -> None:
        self._listener = listener
        self._load = load
        self._find = find
        self._idle_timeout = idle_timeout
        self._worker = ThreadPoolExecutor(max_workers=1)
        self._model: Future[Any] | None = None
        self._lock = threading.Lock()  # of all that follows
        self._tasks: dict[str, Task[Any, Any]] = {}
        self._open: dict[int, str] = {}  # what each job is about that is not answered yet
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
                end, _ = self._listener.accept()
            except TimeoutError:
                continue
            threading.Thread(target=self._serve, args=(end,), daemon=True).start()
        self._listener.close()

    def _is_over(self) -> bool:
        with self._lock:
            idle = time.monotonic() - self._idle_since > self._idle_timeout
            done = not self._open and (idle or self._stopping or self._spoilt)
            self._leaving = self.terminated or done
            return self._leaving

    def _serve(self, end: socket.socket) -> None:
        """One connection: one request."""
        end.settimeout(None)
        with Connection(end) as connection:
            if peer_uid(end) != os.getuid():
                _log("refused a request of another user")
                return
            try:
                message = connection.receive()
                if message is None:
                    return
                if message.get("op") == "task":
                    self._do(connection, message)
                elif message.get("op") == "status":
                    connection.send(self._status(str(message.get("about"))))
                elif message.get("op") == "stop":
                    connection.send(self._stop(message.get("allocation")))
            except ConnectionError as error:  # of this one client; its job is dropped
                _log(f"a client hung up: {error}")

    def _status(self, about: str) -> Message:
        with self._lock:
            tasks = self._tasks.values()
            knows = about in self._open.values() or any(task.knows(about) for task in tasks)
            return {"event": "status", "waiting": len(self._open), "knows": knows}

    def _stop(self, allocation: list[str] | None) -> Message:
        with self._lock:
            stops = allocation is None or allocation == client.allocation()
            self._stopping = self._stopping or stops
            return {"event": "stop", "stops": stops, "waiting": len(self._open)}

    def _do(self, connection: Connection, message: Message) -> None:
        with self._lock:
            if self._leaving or self._spoilt:
                return  # without a hello: the client asks again
            self._number += 1
            number = self._number
            self._open[number] = str(message.get("about"))
        try:
            connection.send({"event": "hello", "pid": os.getpid()})
            last = self._answer(connection, message)
            if last is not None:
                connection.send(last)
        finally:
            with self._lock:
                del self._open[number]
                self._idle_since = time.monotonic()

    def _answer(self, connection: Connection, message: Message) -> Message | None:
        """A job from its request to its last event; None where either side has gone."""
        try:
            task = self._task(str(message.get("task")))
            job = _Job(task, task.read(_content(message)))
            model = self._the_model()
            if not model.done():
                job.saw_loading = True
                connection.send({"event": "loading"})
            model.add_done_callback(lambda done: self._tell_loaded(done, job))
            result = self._take_kept(model.result(), job) if _is_loaded(model) else None
            if result is None:
                future = self._submit(job)
                if future is None or not self._follow(connection, job, future):
                    return None
                result = future.result()
            for event in job.pending():
                connection.send(event)
            with self.writing:
                said = task.write(model.result(), job.content, result)
        except HHVADError as error:
            return _error(error)
        except (_Gone, CancelledError):
            return None
        return _done(said, kept=job.was_kept)

    def _task(self, name: str) -> Task[Any, Any]:
        with self._lock:
            if name not in self._tasks:
                self._tasks[name] = self._find(name)
            return self._tasks[name]

    def _submit(self, job: _Job) -> Future[Any] | None:
        """Queue a job; None where the worker takes no more since this process is spoilt."""
        try:
            future = self._worker.submit(self._compute, job)
        except RuntimeError:  # it has been shut down
            return None
        future.add_done_callback(lambda _: job.events.put(None))
        return future

    def _follow(self, connection: Connection, job: _Job, future: Future[Any]) -> bool:
        """Pass a job's events on until it is computed; False where that came to nothing."""
        try:
            while True:
                try:
                    event = job.events.get(timeout=_TICK)
                except queue.Empty:
                    if self._leaving or connection.has_gone():
                        return False
                    continue
                if event is None:
                    break
                connection.send(event)
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
        connection.send({"event": "bug", "traceback": text})
        return False

    def _the_model(self) -> Future[Any]:
        """The model, which the first job has loaded."""
        with self._lock:
            if self._model is None:
                self._model = self._worker.submit(self._timed_load)
            return self._model

    def _timed_load(self) -> Any:
        begin = time.monotonic()
        try:
            model = self._load()
        except HHVADError:
            self._spoilt = True  # let the next job try again, in a new process
            raise
        self._seconds = time.monotonic() - begin
        return model

    def _tell_loaded(self, model: Future[Any], job: _Job) -> None:
        """Tell a job that the load is over; with its time where the job has waited for it."""
        if model.exception() is None:
            seconds = self._seconds if job.saw_loading else 0.0
            job.events.put(_loaded(model.result(), seconds))

    def _take_kept(self, model: Any, job: _Job) -> Any:
        kept = job.task.kept(model, job.content, job.events.put)
        job.was_kept = kept is not None
        return kept

    def _compute(self, job: _Job) -> Any:
        """In the worker: the result of one job."""
        if self._model is None or job.gone:
            raise _Gone
        model = self._model.result()
        kept = self._take_kept(model, job)
        if kept is not None:
            return kept

        def report(event: Message) -> None:
            if job.gone or self._leaving:
                raise _Gone
            job.events.put(event)

        job.events.put({"event": "started"})
        with _notes(report):
            return job.task.compute(model, job.content, _calm(report))


def _is_loaded(model: Future[Any]) -> bool:
    return model.done() and model.exception() is None


def _error(error: HHVADError) -> Message:
    return {"event": "error", "kind": type(error).__name__, "message": str(error)}


def _log(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


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
    load: Callable[..., Any],
    find: Find,
) -> None:
    """`hhvad serve-model`: go on in the background as the resident process of `folder`.

    lock and listener are inherited file descriptors. Returns only by raising ModelError, before it
    goes into the background.
    """
    if client.code_version() != code:
        raise ModelError("the code of hhvad has just changed; run again")
    if os.fork():
        os._exit(0)
    os.set_inheritable(lock, False)
    os.set_inheritable(listener, False)

    def loading() -> Any:
        _count_load(device)
        loaded = load(model, revision=revision, dtype=dtype, device=device, threads=threads)
        if client.code_version.__wrapped__() != code:
            raise ModelError("the code of hhvad changed while the model was loaded; run again")
        return loaded

    server = Server(socket.socket(fileno=listener), loading, find, idle_timeout)
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
        with start_question(timeout=2.0):
            remove_folder(leaving)  # and the runtime folder, if this was the last
    except HHVADError:
        _log("the runtime folder is in use")
