"""Starts the process of each camera, ends those that hang, and starts them again."""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hhvad.errors import ConfigError
from hhvad.live.record import keeping
from hhvad.live.record.source import Source

LONGEST = 60.0  # seconds between two tries
_GOOD = 30.0  # seconds of pictures after which the next failure counts as the first
_LOADING = 20.0  # seconds for the process itself to start
_ENDING = 12.0  # seconds for finishing files at the end
_KEEPING = 30.0  # seconds between two looks at what is too old
_AGAIN = 600.0  # seconds after which the same failure is told again

Say = Callable[[str], None]


@dataclass
class Camera:
    """A camera and its process."""

    source: Source
    process: subprocess.Popen[str] | None = None
    heard: float = 0.0  # monotonic, of its last sign of life
    opened: float | None = None  # when its pictures began to come
    failures: int = 0
    again: float = 0.0  # monotonic, of the next try
    message: str = ""  # why it ended
    told: tuple[str, float] = ("", 0.0)  # the failure that was told last, and when
    files: int = 0
    bytes: int = 0
    is_done: bool = False
    starts: list[float] = field(default_factory=list)


class Recorder:
    """Records all cameras until it is stopped, or all their files are at their end.

    timeout: seconds without a picture after which a camera hangs. say: takes each line for people.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        root: Path,
        *,
        seconds: float,
        timeout: float,
        days: float | None = None,
        gigabytes: float | None = None,
        events: Path | None = None,
        say: Say,
    ) -> None:
        self.cameras = [Camera(source) for source in sources]
        self.root, self.seconds, self.timeout = root, seconds, timeout
        self.days, self.gigabytes, self.events = days, gigabytes, events
        self.say = say
        self._heard: queue.Queue[tuple[Camera, Any, dict[str, Any] | None]] = queue.Queue()
        self._stop = threading.Event()
        self._kept = -_KEEPING
        self._is_over = False

    def stop(self) -> None:
        """Finish all open files and end."""
        self._stop.set()

    def run(self) -> None:
        """Record. Every child is gone when this returns. Raises ConfigError for a bad folder."""
        try:
            self.root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"--out {self.root}: cannot be written: {error.strerror}") from None
        try:
            while not self._stop.is_set() and not all(one.is_done for one in self.cameras):
                now = time.monotonic()
                for camera in self.cameras:
                    self._look_after(camera, now)
                if now - self._kept >= _KEEPING:
                    self._kept = now
                    self._delete_surplus()
                self._hear(0.2)
        finally:
            self._end()

    def line(self) -> str:
        """All of it in a line for people."""
        recording = [one for one in self.cameras if one.opened is not None]
        words = [
            f"{len(recording)} of {len(self.cameras)} cameras recording",
            f"{sum(one.files for one in self.cameras)} files",
            f"{sum(one.bytes for one in self.cameras) / 1e6:.0f} MB",
        ]
        words += [
            f"{one.source.camera}: {one.message}"
            for one in self.cameras
            if one.opened is None and one.message and not one.is_done
        ]
        return ", ".join(words)

    # --- one camera -------------------------------------------------------------------------------

    def _look_after(self, camera: Camera, now: float) -> None:
        if camera.process is None:
            if not camera.is_done and now >= camera.again:
                self._start(camera, now)
            return
        limit = self.timeout if camera.opened is not None else self.timeout + _LOADING
        if now - camera.heard > limit and camera.process.poll() is None:
            camera.message = f"no picture for {now - camera.heard:.0f} s"
            camera.process.kill()

    def _start(self, camera: Camera, now: float) -> None:
        folder = self.root / camera.source.camera
        # A session of its own: Ctrl-C is for us, and we let it finish its file.
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "hhvad.live.record.child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
        camera.process, camera.heard, camera.opened, camera.message = process, now, None, ""
        job = {
            "camera": camera.source.camera,
            "address": camera.source.address,
            "folder": str(folder.absolute()),
            "seconds": self.seconds,
            "timeout": self.timeout,
        }
        with suppress(OSError):
            self._tell(process, json.dumps(job))
        threading.Thread(target=self._read, args=(camera, process), daemon=True).start()

    @staticmethod
    def _tell(process: subprocess.Popen[str], line: str) -> None:
        if process.stdin is not None:
            process.stdin.write(f"{line}\n")
            process.stdin.flush()

    def _read(self, camera: Camera, process: subprocess.Popen[str]) -> None:
        """In a thread: pass on what a child says, and that it is gone."""
        if process.stdout is not None:
            for line in process.stdout:
                with suppress(ValueError):
                    self._heard.put((camera, process, json.loads(line)))
        process.wait()
        self._heard.put((camera, process, None))

    def _hear(self, seconds: float) -> None:
        with suppress(queue.Empty):
            while True:
                camera, process, message = self._heard.get(timeout=seconds)
                seconds = 0.0
                if process is not camera.process:
                    continue
                if message is None:
                    self._ended(camera)
                else:
                    self._said(camera, message)

    def _said(self, camera: Camera, message: dict[str, Any]) -> None:
        name = camera.source.camera
        camera.heard = time.monotonic()
        event = message["event"]
        if event == "open":
            if camera.opened is None:
                camera.opened = camera.heard
                self.say(f"{name}: {message['kind']} from {camera.source.shown}")
        elif event == "file":
            camera.files += 1
            camera.bytes += message["bytes"]
        elif event == "note":
            self.say(f"{name}: {message['message']}")
        elif event == "end":
            camera.message = camera.message or message["message"]

    def _ended(self, camera: Camera) -> None:
        """A child is gone: try again later, or be done."""
        process, now = camera.process, time.monotonic()
        camera.process = None
        if process is not None:
            for pipe in (process.stdin, process.stdout):
                with suppress(OSError):
                    pipe and pipe.close()
        message = camera.message or f"its process died (status {process and process.returncode})"
        if not camera.source.is_endless:
            camera.is_done = True
            self.say(f"{camera.source.camera}: {message}")
        elif not self._is_over:
            ran = camera.opened is not None and now - camera.opened > _GOOD
            camera.failures = 1 if ran else camera.failures + 1
            wait = min(LONGEST, 2.0 ** (camera.failures - 1))
            camera.again = now + wait
            if camera.told[0] != message or now - camera.told[1] > _AGAIN:
                camera.told = message, now
                self.say(f"{camera.source.camera}: {message}; again in {wait:.0f} s")
        camera.opened, camera.message = None, message

    # --- the end, and old files -------------------------------------------------------------------

    def _end(self) -> None:
        """Let every child finish its file; kill those that do not."""
        self._is_over = True
        running = [one for one in self.cameras if one.process is not None]
        for camera in running:
            if camera.process is not None:
                with suppress(OSError):
                    self._tell(camera.process, "stop")
        end = time.monotonic() + _ENDING
        while any(one.process is not None for one in running) and time.monotonic() < end:
            self._hear(0.1)
        for camera in running:
            if camera.process is not None:
                camera.process.kill()
                camera.process.wait()
                self.say(f"{camera.source.camera}: killed; the next run finishes its open file")

    def _delete_surplus(self) -> None:
        if self.days is None and self.gigabytes is None:
            return
        spans = keeping.events(self.events) if self.events else {}
        found = keeping.recordings(self.root)
        gone = keeping.surplus(
            found, now=time.time(), days=self.days, gigabytes=self.gigabytes, protected=spans
        )
        for one in gone:
            with suppress(FileNotFoundError):
                one.path.unlink()
        if gone:
            total = sum(one.bytes for one in gone) / 1e6
            self.say(f"deleted {len(gone)} old recordings, {total:.0f} MB")
        left = sum(one.bytes for one in found) - sum(one.bytes for one in gone)
        if self.gigabytes is not None and left > self.gigabytes * keeping.GIGABYTE:
            self.say(
                f"{left / 1e9:.1f} GB are kept, more than {self.gigabytes:g}: all of it overlaps "
                "events"
            )
