"""A job's side of the model process: attach to the one that holds the model, or start it.

Nothing here imports numpy, h5py or torch: a job costs a fraction of a second besides its own
computation. The address of a process is a digest of all that makes two of them different (model,
revision, dtype, device, threads, host, Slurm allocation, the code itself). Its lock and its
listening socket are made by the job and inherited by the process: it is reachable before it has run
a line, however long the model takes to load (lock.py, wire.py).
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from hhvad import errors
from hhvad.errors import ConfigError, ModelError
from hhvad.resident.lock import (
    ELSEWHERE,
    PATIENCE,
    TICK,
    remove_folder,
    runtime_folder,
    runtime_parent,
    start_question,
    try_lock,
)
from hhvad.resident.wire import Connection, Message, Report, connect, reachable

COMMAND = (sys.executable, "-P", "-m", "hhvad", "serve-model")
_OF_THE_PROCESS = ("HF_HOME", "HF_HUB_CACHE", "HF_HUB_OFFLINE", "CUDA_VISIBLE_DEVICES")


@dataclass(frozen=True)
class Holding:
    """What one resident process holds: a model, as it was asked for, on one device.

    stamp tells a checkpoint folder's content (hhvad.checkpoint). visible narrows
    CUDA_VISIBLE_DEVICES for the process; None leaves the variable as it is.
    """

    model: str
    stamp: str = ""
    revision: str | None = None
    dtype: str = "auto"
    device: str = "auto"
    threads: int | None = None
    visible: str | None = None

    def address(self) -> str:
        """A digest of the holding and of where and with what code it lives."""
        environment = {name: os.environ.get(name) for name in _OF_THE_PROCESS}
        scope = [asdict(self), allocation(), environment, sys.executable, code_version()]
        return hashlib.sha256(json.dumps(scope).encode()).hexdigest()[:16]


def allocation() -> list[str]:
    """The host, and the Slurm job and step on it: a process ends with its allocation."""
    names = ("SLURM_JOB_ID", "SLURM_STEP_ID")
    return [socket.gethostname(), *(os.environ.get(name, "") for name in names)]


@cache
def code_version() -> str:
    """A digest of the source behind the features: an old process never serves new code."""
    root = Path(__file__).parents[1]
    total = hashlib.sha256()
    for path in sorted(
        [*root.glob("*.py"), *root.glob("mllm/**/*.py"), *root.glob("resident/*.py")]
    ):
        total.update(f"{path.relative_to(root)}\0".encode() + path.read_bytes() + b"\0")
    return total.hexdigest()[:16]


def on_devices(holding: Holding) -> list[Holding]:
    """One holding a device, where holding.device is auto, cpu, cuda:0, or several: cuda:0,cuda:1.

    auto is one process a visible GPU where there are several. Raises ConfigError.
    """
    device = holding.device
    if device == "auto":
        gpus = _visible_gpus()
        if len(gpus) < 2:
            return [holding]
        return [replace(holding, device="cuda:0", visible=gpu) for gpu in gpus]
    names = [name.strip() for name in device.split(",")]
    if not all(names) or len(set(names)) < len(names):
        raise ConfigError(f"--device {device!r}: give auto, cpu, cuda:0 or cuda:0,cuda:1")
    return [replace(holding, device=name) for name in names]


def _visible_gpus() -> list[str]:
    """Entries for CUDA_VISIBLE_DEVICES, one a GPU; empty where torch cannot use any."""
    from importlib.metadata import PackageNotFoundError, version

    with suppress(PackageNotFoundError):
        if version("torch").endswith("+cpu"):
            return []
    listed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if listed is not None:
        return [entry.strip() for entry in listed.split(",") if entry.strip() not in ("", "-1")]
    # A container has the device files of its own GPUs alone, whatever their numbers.
    return [str(i) for i, _ in enumerate(Path("/dev").glob("nvidia[0-9]*"))]


class Resident:
    """Start-or-attach for a model that may live on several devices, one process each.

    command starts the process instead of COMMAND; the arguments of `hhvad serve-model` follow it.
    """

    def __init__(
        self,
        holdings: Sequence[Holding],
        *,
        idle_timeout: float = 60.0,
        command: Sequence[str] | None = None,
    ) -> None:
        self.holdings = list(holdings)
        self.idle_timeout = idle_timeout
        self.command = list(COMMAND if command is None else command)

    def ask(self, job: Mapping[str, Any], report: Report) -> Message:
        """Have `job` done: returns its `done` event; other events go to `report` as they come.

        A job is a task's request with two more keys: `task`, its name, and `about`: jobs about the
        same thing go to the same process.

        A process that dies while it computes this job is started again once; one that dies while
        the job waits behind others is not this job's fault: it is started again, however often.
        Raises the HHVADError that the process met, ModelError where it died twice, RuntimeError on
        a bug in it.
        """
        deaths = 0
        while deaths < 2:
            with self._enqueue(job) as connection:
                ours, last = self._listen(connection, report)
            if last is not None:
                return _outcome(last)
            deaths += ours
            report({"event": "died"})
        raise ModelError(
            "the resident process died twice while it loaded the model or computed this job (out "
            "of memory, or killed); --resident no shows how, a smaller --batch-size may help"
        )

    def _listen(self, connection: Connection, report: Report) -> tuple[bool, Message | None]:
        """Pass events on until the last one; None where the process went without one.

        The flag says whether it was busy for this job: loading the model, or computing it.
        """
        connection.socket.settimeout(None)
        ours = True
        while True:
            message = connection.receive()
            if message is None or message.get("event") in ("done", "error", "bug"):
                return ours, message
            if message.get("event") in ("loaded", "started"):
                ours = message["event"] == "started"
            report(message)

    def _enqueue(self, job: Mapping[str, Any]) -> Connection:
        """A connection on which a living process has said hello to `job`."""
        end = time.monotonic() + PATIENCE
        failed = 0
        while time.monotonic() < end:
            with start_question() as runtime:
                folder, is_new = self._folder(self._choose(runtime, job), runtime)
                connection = connect(folder, PATIENCE)
                if connection is not None:
                    if _ask(connection, {**job, "op": "task"}) is not None:
                        return connection
                    connection.close()
                failed += is_new
                if failed == 2:
                    raise ModelError(
                        f"the resident process ends as soon as it starts: {_tail(folder)}"
                    )
            time.sleep(TICK)  # it is leaving: let it have the start lock
        raise ModelError(
            f"the resident process does not answer for {PATIENCE:.0f} s; "
            "run 'hhvad stop-resident --all', or use --resident no"
        )

    def _choose(self, runtime: Path, job: Mapping[str, Any]) -> Holding:
        """Where this job goes: to the process that knows what it is about, else to an idle one,
        else to a device that has none yet, else to the one with the fewest jobs."""
        if len(self.holdings) == 1:
            return self.holdings[0]
        ranks = []
        for index, holding in enumerate(self.holdings):
            rank = (2, 0)
            connection = connect(runtime / holding.address(), PATIENCE)
            if connection is not None:
                with connection:
                    state = _ask(connection, {"op": "status", "about": job["about"]})
                if state is not None:
                    waiting = int(state["waiting"])
                    rank = (0 if state["knows"] else 1 if waiting == 0 else 3, waiting)
            ranks.append((rank, index))
        return self.holdings[min(ranks)[1]]

    def _folder(self, holding: Holding, runtime: Path) -> tuple[Path, bool]:
        """The folder of a living process of `holding`, and whether it had to be started.

        Only for who holds `start.lock`. Raises ModelError where it does not start.
        """
        folder = runtime / holding.address()
        folder.mkdir(mode=0o700, exist_ok=True)
        lock = try_lock(folder / "lock")
        if lock is None:
            return folder, False
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
            try:
                self._start(holding, folder, lock, listener)
            finally:
                os.close(lock)
        return folder, True

    def _start(self, holding: Holding, folder: Path, lock: int, listener: socket.socket) -> None:
        (folder / "socket").unlink(missing_ok=True)
        try:
            with reachable(folder / "socket") as name:
                listener.bind(name)
        except OSError as error:
            remove_folder(folder)
            raise ConfigError(
                f"{folder}: takes no socket ({error.strerror}); {ELSEWHERE}"
            ) from error
        listener.listen(1024)
        arguments = {
            "folder": folder,
            "lock": lock,
            "listener": listener.fileno(),
            "code": code_version(),
            "idle-timeout": self.idle_timeout,
            "model": holding.model,
            "revision": holding.revision or "",
            "dtype": holding.dtype,
            "device": holding.device,
            "threads": holding.threads or 0,
        }
        command = [*self.command, *(f"--{name}={value}" for name, value in arguments.items())]
        search = [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, search))}
        if holding.visible is not None:
            environment["CUDA_VISIBLE_DEVICES"] = holding.visible
        with (folder / "log").open("wb") as log:
            # The process goes on as its own child once it has parsed its arguments, so that
            # nobody has to wait for it: what returns here says whether it started.
            code = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                pass_fds=(lock, listener.fileno()),
                start_new_session=True,
                check=False,
            ).returncode
        if code:
            text = _tail(folder)
            remove_folder(folder)
            raise ModelError(f"the resident process did not start (exit code {code}): {text}")


def _tail(folder: Path) -> str:
    """The end of a process's log."""
    try:
        return (folder / "log").read_text(errors="replace")[-2000:]
    except FileNotFoundError:
        return "it left no log"


def _ask(connection: Connection, message: Mapping[str, Any]) -> Message | None:
    """The answer to `message`; None where the process is gone or does not speak."""
    try:
        connection.send(message)
        return connection.receive()
    except (BrokenPipeError, ConnectionResetError, TimeoutError):
        return None


def _outcome(last: Message) -> Message:
    """The last event of a job: returned, or raised as what it stands for."""
    if last["event"] == "done":
        return last
    if last["event"] == "error":
        kind = getattr(errors, str(last["kind"]), None)
        known = isinstance(kind, type) and issubclass(kind, errors.HHVADError)
        raise (kind if known and kind is not None else ModelError)(last["message"])
    raise RuntimeError(f"a bug in the resident process:\n{last['traceback']}")


def stop(everywhere: bool = False, timeout: float = 10.0) -> tuple[int, int]:
    """End the resident processes of this allocation, or all of this user on this host.

    One that still has jobs ends when they are done. Removes what killed processes left.
    Returns how many ended and how many are still busy.
    """
    if not (runtime_parent() / f"hhvad-{os.getuid()}").is_dir():
        return 0, 0
    lives = []
    for folder in _folders():
        connection = connect(folder, timeout)
        if connection is None:
            continue
        with connection, suppress(FileNotFoundError):
            life = os.open(folder / "lock", os.O_RDWR | os.O_CLOEXEC)
            scope = None if everywhere else allocation()
            answer = _ask(connection, {"op": "stop", "allocation": scope})
            if answer is None or answer["stops"]:
                lives.append(life)
            else:
                os.close(life)
    busy = sum(not _released(life, time.monotonic() + timeout) for life in lives)
    _sweep()
    return len(lives) - busy, busy


def _released(life: int, end: float) -> bool:
    """Wait for the end of a process by the lock that it holds; closes the descriptor."""
    try:
        while True:
            try:
                fcntl.flock(life, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return True
            except BlockingIOError:
                if time.monotonic() > end:
                    return False
                time.sleep(TICK)
    finally:
        os.close(life)


def _folders() -> list[Path]:
    runtime = runtime_folder()
    return sorted(path for path in runtime.iterdir() if path.is_dir())


def _sweep() -> None:
    """Remove the folders of processes that were killed."""
    with start_question() as runtime:
        for folder in _folders():
            lock = try_lock(folder / "lock")
            if lock is not None:
                remove_folder(folder)
                os.close(lock)
        remove_folder(runtime / "none")  # and the runtime folder, if that was all
