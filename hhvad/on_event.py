"""`--on-event`: a command that is run once for each event, with the event as JSON on its stdin."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hhvad.errors import ArtifactError, ConfigError
from hhvad.files import digest, read_json
from hhvad.study import Study

TIMEOUT = 60.0  # seconds for one call


class Command:
    """A command that gets an event on its standard input.

    Its words are split as a shell does, and run without one. Raises ConfigError where the command
    cannot be split or found.
    """

    def __init__(self, command: str) -> None:
        try:
            self.words = shlex.split(command)
        except ValueError as error:
            raise ConfigError(f"--on-event {command!r}: {error}") from None
        if not self.words or shutil.which(self.words[0]) is None:
            raise ConfigError(f"--on-event {command!r}: there is no such program")

    def run(self, line: bytes, stdout: int | None = None) -> str:
        """Run it once, with a line of JSON; what went wrong, '' for nothing.

        stdout: the open file that its standard output goes to, by default ours.
        """
        try:
            done = subprocess.run(
                self.words, input=line, stdout=stdout, timeout=TIMEOUT, check=False
            )
        except subprocess.TimeoutExpired:
            return f"was ended after {TIMEOUT:.0f} s"
        except OSError as error:
            return f"cannot be run: {error.strerror}"
        return f"ended with status {done.returncode}" if done.returncode else ""


class OnEvent:
    """Runs a command for each event that it has not been run for.

    told: the file of the ids for which the command ended well, one per line; it lasts over
    restarts. An event for which the command failed is tried again when this is made anew.
    Raises ConfigError as `Command` does.
    """

    def __init__(self, command: str, told: Path) -> None:
        self.command = Command(command)
        self.told = told
        self.failed = 0
        self._seen = set(told.read_text(encoding="utf-8").split()) if told.exists() else set()

    def tell(self, event: Mapping[str, Any]) -> None:
        """Run the command for an event, unless it was told.

        It is known by its method, video, the fingerprint of the video's file, and its frames.
        """
        keys = ("method", "video", "fingerprint", "start_frame", "end_frame")
        name = digest([event[key] for key in keys])
        if name in self._seen:
            return
        self._seen.add(name)
        line = json.dumps({"id": name, **event}, ensure_ascii=True) + "\n"
        if problem := self.command.run(line.encode()):
            self.failed += 1
            print(
                f"hhvad: note: --on-event {self.command.words[0]} {problem} for {event['video']}, "
                f"{event['start_seconds']:.1f} s",
                file=sys.stderr,
            )
            return
        self.told.parent.mkdir(parents=True, exist_ok=True)
        with self.told.open("a", encoding="utf-8") as file:
            file.write(f"{name}\n")

    def close(self) -> None:
        """Say how often the command failed."""
        if self.failed:
            print(
                f"hhvad: note: --on-event failed for {self.failed} events, which the next run "
                "tries again",
                file=sys.stderr,
            )


class EventsOfStudy:
    """The events of a study's test videos, as they appear in its results."""

    def __init__(self, study: Study) -> None:
        self.study = study
        self._read: dict[Path, int] = {}  # files by the time of their last change

    def new(self) -> Iterator[dict[str, Any]]:
        """Events of the files that have changed since the last call; none in ignored hours."""
        for method in self.study.methods:
            for name in self.study.split("test"):
                path = self.study.results / f"events/{method}/{name}.json"
                try:
                    changed = path.stat().st_mtime_ns
                    if self._read.get(path) == changed:
                        continue
                    events = read_json(path)["events"]
                    probe = read_json(self.study.results / f"probe/{name}.json")
                except (FileNotFoundError, ArtifactError):
                    continue  # not there yet, or again
                self._read[path] = changed
                about = {"study": self.study.name, "method": method, "video": name}
                about["path"] = self.study.videos[name].path
                about["fingerprint"] = probe["fingerprint"]
                yield from ({**about, **one} for one in events if not one.get("ignored"))
