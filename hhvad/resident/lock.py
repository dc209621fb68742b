"""The private folder of a user's model processes, and the locks in it.

One folder a process, `<runtime>/hhvad-<uid>/<address>/`:

    lock    flock, held by the process for its life: the kernel releases it, so it cannot lie
    socket  unix stream socket; answers only requests of the same user
    log     stdout and stderr of the process

and beside them `start.lock`, held by one job at a time while it asks who lives, starts a process
and puts its request in the queue; the process holds it while it leaves. So no job ever meets a
process half born or half gone, and no file stays behind.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hhvad.errors import ConfigError, ModelError

PATIENCE = 300.0  # seconds until a process that lives and says nothing counts as hung
TICK = 0.02  # seconds between two looks
ELSEWHERE = "set HHVAD_RUNTIME_DIR to a folder on a local disk"


def runtime_folder() -> Path:
    """The private folder of this user, made if need be: mode 0700, in HHVAD_RUNTIME_DIR,
    XDG_RUNTIME_DIR or the temporary folder, whichever is first there.

    Raises ConfigError where it belongs to someone else or others can enter it.
    """
    folder = runtime_parent() / f"hhvad-{os.getuid()}"
    while True:
        try:
            with suppress(FileExistsError):
                folder.mkdir(mode=0o700, parents=True)
        except OSError as error:
            raise ConfigError(
                f"{folder}: cannot be made ({error.strerror}); {ELSEWHERE}"
            ) from error
        with suppress(FileNotFoundError):  # the last process has just removed it
            found = folder.lstat()
            break
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise ConfigError(
            f"{folder}: is not a private folder of yours (mode {stat.filemode(found.st_mode)}, "
            f"owner {found.st_uid}); remove it, or {ELSEWHERE}"
        )
    return folder


def runtime_parent() -> Path:
    """The folder in which the private one lies."""
    given = os.environ.get("HHVAD_RUNTIME_DIR")
    if given:
        return Path(given).absolute()
    xdg = os.environ.get("XDG_RUNTIME_DIR", "")  # Slurm passes it on to nodes that lack the folder
    if xdg and os.access(xdg, os.W_OK | os.X_OK):
        return Path(xdg)
    return Path(tempfile.gettempdir())


@contextmanager
def start_question(timeout: float = PATIENCE) -> Iterator[Path]:
    """Hold `start.lock`: yields the runtime folder. Raises ModelError after `timeout` seconds."""
    end = time.monotonic() + timeout
    while True:
        folder = runtime_folder()
        lock = try_lock(folder / "start.lock")
        if lock is not None:
            break
        if time.monotonic() > end:
            raise ModelError(
                f"{folder / 'start.lock'}: held by another job for {timeout:.0f} s; "
                "run 'hhvad stop-resident --all', or use --resident no"
            )
        time.sleep(TICK)
    try:
        yield folder
    finally:
        os.close(lock)


def try_lock(path: Path) -> int | None:
    """A file descriptor that holds the flock of `path`, or None where another holds it."""
    try:
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except FileNotFoundError:  # its folder was removed by a process that left
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(lock).st_ino == path.stat().st_ino:  # not one that was just removed
            return lock
    except (BlockingIOError, FileNotFoundError):
        pass
    except OSError as error:  # some network file systems
        os.close(lock)
        raise ConfigError(f"{path}: cannot be locked ({error.strerror}); {ELSEWHERE}") from error
    os.close(lock)
    return None


def remove_folder(folder: Path) -> None:
    """Remove what a process leaves, and the runtime folder after the last one.

    Only for who holds `start.lock`.
    """
    shutil.rmtree(folder, ignore_errors=True)
    runtime = folder.parent
    with suppress(OSError):  # it is gone, or a job has just made a new start.lock
        if {path.name for path in runtime.iterdir()} == {"start.lock"}:
            (runtime / "start.lock").unlink()
            runtime.rmdir()
