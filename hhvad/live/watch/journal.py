"""Append-only files of JSON lines: what a watcher has done, and the changes of events."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hhvad.errors import ArtifactError, ConfigError


class Journal:
    """JSON lines that outlive a crash: each is on the disk when `append` returns.

    A last line without its end was being written when the power went or the process was killed; it
    is cut off. The file is locked: ConfigError where another process has it. Raises ArtifactError
    where it cannot be read or written, or holds a line that is not JSON.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("a+b", buffering=0)
        except OSError as error:
            raise ArtifactError(f"{path}: cannot be written: {error.strerror}") from error
        try:
            self.lines = self._read()
        except BaseException:
            self._file.close()
            raise

    def _read(self) -> list[dict[str, Any]]:
        """Lock the file, cut its torn end, and read its lines."""
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._file.seek(0)
            content = self._file.read()
            whole = content.rfind(b"\n") + 1
            self._file.truncate(whole)
        except BlockingIOError:
            raise ConfigError(f"{self.path}: another hhvad uses it; end that first") from None
        except OSError as error:
            raise ArtifactError(f"{self.path}: cannot be read: {error.strerror}") from error
        return [self._parsed(n, line) for n, line in enumerate(content[:whole].splitlines())]

    def _parsed(self, number: int, line: bytes) -> dict[str, Any]:
        try:
            found = json.loads(line)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise ArtifactError(
                f"{self.path}: line {number + 1} is not JSON; remove that line, or the file to "
                "judge all recordings again"
            )
        return found

    def append(self, *lines: Mapping[str, Any]) -> None:
        """Write lines to the end of the file, all or none of them."""
        text = "".join(as_line(line) for line in lines).encode()
        size = self._file.seek(0, os.SEEK_END)
        try:
            if self._file.write(text) != len(text):
                raise OSError(0, "the disk is full")
            os.fsync(self._file.fileno())
        except OSError as error:
            self._file.truncate(size)
            raise ArtifactError(f"{self.path}: cannot be written: {error.strerror}") from error

    def close(self) -> None:
        """Close the file, which gives its lock back."""
        self._file.close()


def as_line(content: Mapping[str, Any]) -> str:
    """One line of JSON in ASCII, with its end."""
    return json.dumps(content, allow_nan=False, separators=(",", ":")) + "\n"
