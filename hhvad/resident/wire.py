"""Messages between a job and a model process: JSON objects, one a line, over a unix socket.

A job sends one request and gets `hello`, then events (`loading`, `loaded`, `started`, `text`,
`note`, `progress`) and one last: `done`, `error` (a HHVADError by name) or `bug` (a traceback).
"""

from __future__ import annotations

import json
import os
import socket
import struct
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

Message = dict[str, Any]
Report = Callable[[Message], None]

LONGEST_MESSAGE = 16 * 2**20  # bytes
_SHORT_PATH = 100  # bytes that fit into sockaddr_un (108) on Linux, with some to spare


class Connection:
    """One end of a socket; a context manager that closes it."""

    def __init__(self, end: socket.socket) -> None:
        self.socket = end
        self._lines = end.makefile("rb")

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Hang up."""
        self._lines.close()
        self.socket.close()

    def send(self, message: Mapping[str, Any]) -> None:
        """Send one message."""
        self.socket.sendall(json.dumps(message).encode() + b"\n")

    def receive(self) -> Message | None:
        """The next message; None when the other side has gone. ConnectionError where it is none."""
        try:
            line = self._lines.readline(LONGEST_MESSAGE)
        except (ConnectionResetError, BrokenPipeError):
            return None
        if not line.endswith(b"\n"):
            if len(line) == LONGEST_MESSAGE:
                raise ConnectionError(f"a message of more than {LONGEST_MESSAGE} bytes")
            return None
        try:
            message = json.loads(line)
        except ValueError as error:
            raise ConnectionError(f"not a message: {error}") from error
        if not isinstance(message, dict):
            raise ConnectionError("not a message: no object")
        return message

    def has_gone(self) -> bool:
        """Whether a client has hung up: it sends nothing after its request."""
        try:
            self.socket.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except ConnectionError:
            return True
        return True


def peer_uid(end: socket.socket) -> int:
    """The user at the other end, as the kernel knows it (SO_PEERCRED)."""
    size = struct.calcsize("3i")
    credentials = end.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
    return int(struct.unpack("3i", credentials)[1])


@contextmanager
def reachable(path: Path) -> Iterator[str]:
    """A name of `path` that fits into a socket address, however deep its folder is."""
    if len(os.fsencode(path)) <= _SHORT_PATH:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def connect(folder: Path, timeout: float) -> Connection | None:
    """A connection to the process of `folder`, or None where none listens."""
    end = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    end.settimeout(timeout)
    try:
        with reachable(folder / "socket") as name:
            end.connect(name)
        if peer_uid(end) == os.getuid():
            return Connection(end)
    except (FileNotFoundError, ConnectionError, BlockingIOError, TimeoutError):
        pass
    end.close()
    return None
