"""What tells others of each change of an event: standard output, a command, a webhook, MQTT.

Each output reads events.jsonl in a thread of its own and keeps, in a small file, how far it has
told: a change is told again until that works, also after a restart, so at least once. An output
that is `LONGEST` changes behind gives up the oldest ones.
"""

from __future__ import annotations

import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from hhvad.errors import ConfigError, HHVADError
from hhvad.files import read_text, write_text
from hhvad.on_event import Command

LONGEST = 1000  # changes that wait for an output
TIMEOUT = 10.0  # seconds for one request
FIRST, SLOWEST = 1.0, 60.0  # seconds to the second try, and at most between two

Send = Callable[[bytes], None]  # a line of JSON with its end; raises OSError where it fails


class Output:
    """One output. events: the file that it reads. told: where it keeps how far it has told, in
    bytes; without that file it begins at the end of events. report(told, waiting, given up).
    """

    def __init__(
        self,
        name: str,
        send: Send,
        events: Path,
        told: Path,
        report: Callable[[int, int, int], None] = lambda *counts: None,
    ) -> None:
        self.name = name
        self.broken: Exception | None = None  # what it has ended of
        self._send, self._events, self._file, self._report = send, events, told, report
        self._told = 0
        self._given_up = 0
        self._stop = self._is_more = False
        self._changed = threading.Condition()
        if not told.exists():
            write_text(told, f"{events.stat().st_size if events.exists() else 0}\n")
        self._at = _number(told)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """There is more to tell."""
        with self._changed:
            self._is_more = True
            self._changed.notify()

    def finish(self, seconds: float) -> int:
        """Give it so many seconds to tell all, then end it; how many changes are left untold."""
        end = time.monotonic() + seconds
        self.wake()
        while self._thread.is_alive() and self._waiting() and time.monotonic() < end:
            time.sleep(0.05)
        with self._changed:
            self._stop = True
            self._changed.notify()
        self._thread.join(timeout=TIMEOUT)
        return len(self._waiting())

    def _waiting(self) -> list[bytes]:
        """The whole lines that are still to be told."""
        try:
            with self._events.open("rb") as file:
                if file.seek(0, 2) < self._at:
                    self._at = 0  # somebody began the file anew
                file.seek(self._at)
                text = file.read()
        except FileNotFoundError:
            return []
        return text[: text.rfind(b"\n") + 1].splitlines(keepends=True)

    def _run(self) -> None:
        try:
            self._tell_all()
        except (HHVADError, BrokenPipeError) as error:
            self.broken = error

    def _tell_all(self) -> None:
        pause = 0.0
        while not self._stop:
            lines = self._waiting()
            if len(lines) > LONGEST:
                for line in lines[:-LONGEST]:
                    self._pass(line)
                self._given_up += len(lines) - LONGEST
                lines = lines[-LONGEST:]
            self._report(self._told, len(lines), self._given_up)
            if not lines:
                self._wait(1.0)
                continue
            try:
                self._send(lines[0])
            except OSError as error:
                if self.name == STDOUT and isinstance(error, BrokenPipeError):
                    raise  # nobody reads any more
                pause = self._failed(error, pause)
            else:
                self._told += 1
                self._pass(lines[0])
                pause = 0.0

    def _failed(self, error: OSError, pause: float) -> float:
        """Wait longer and longer, and say so once."""
        if not pause:
            print(
                f"hhvad: note: {self.name}: {error.strerror or error}; trying again",
                file=sys.stderr,
            )
        pause = min(max(FIRST, 2 * pause), SLOWEST)
        self._wait(pause, woken=False)
        return pause

    def _wait(self, seconds: float, *, woken: bool = True) -> None:
        end = time.monotonic() + seconds
        with self._changed:
            while not self._stop and (left := end - time.monotonic()) > 0:
                if woken and self._is_more:
                    break
                self._changed.wait(left)
            self._is_more = False

    def _pass(self, line: bytes) -> None:
        self._at += len(line)
        write_text(self._file, f"{self._at}\n")


STDOUT = "stdout"


def to_stdout(line: bytes) -> None:
    """Print the line."""
    sys.stdout.write(line.decode())
    sys.stdout.flush()


def to_command(words: str) -> Send:
    """Run a command with the line on its standard input. Raises ConfigError: no such program."""
    command = Command(words)

    def send(line: bytes) -> None:
        if problem := command.run(line, stdout=2):  # ours is for events alone
            raise OSError(f"{command.words[0]} {problem}")

    return send


def to_webhook(given: str) -> Send:
    """POST the line as application/json to a URL. given: the URL, or @FILE that holds it."""
    url = _url(given, "--webhook", ("http", "https"))

    def send(line: bytes) -> None:
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(url, line.rstrip(), headers, method="POST")
        try:
            # _url has let only http and https through
            with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:  # nosec B310
                answer.read(1)
        except urllib.error.HTTPError as error:
            error.close()
            raise OSError(f"answered {error.code}") from None
        except urllib.error.URLError as error:
            raise OSError(str(error.reason)) from None
        except ValueError as error:  # as http.client.InvalidURL
            raise OSError(str(error)) from None

    return send


def to_mqtt(given: str) -> Send:
    """Publish the line at QoS 1. given: mqtt://USER:PASSWORD@HOST:PORT/TOPIC, or @FILE with it.

    mqtts:// is TLS. Raises ConfigError where the extra `mqtt` is not installed.
    """
    url = urlsplit(_url(given, "--mqtt", ("mqtt", "mqtts")))
    topic = unquote(url.path.lstrip("/")) or "hhvad"
    if set(topic) & set("+#"):
        raise ConfigError(f"--mqtt: topic {topic!r} has a wildcard; + and # are not for publishing")
    try:
        from paho.mqtt.client import Client
        from paho.mqtt.enums import CallbackAPIVersion
    except ImportError:
        raise ConfigError("--mqtt needs paho-mqtt: pip install 'hhvad[mqtt]'") from None
    port = url.port or (8883 if url.scheme == "mqtts" else 1883)
    host = url.hostname or ""
    client: Any = None

    def connected() -> Any:
        nonlocal client
        if client is not None and client.is_connected():
            return client
        if client is not None:
            client.loop_stop()
        client = Client(CallbackAPIVersion.VERSION2)
        if url.scheme == "mqtts":
            client.tls_set()
        if url.username:
            client.username_pw_set(unquote(url.username), unquote(url.password or ""))
        client.connect(host, port, keepalive=60)
        client.loop_start()
        return client

    def send(line: bytes) -> None:
        try:
            message = connected().publish(topic, line.rstrip(), qos=1)
            message.wait_for_publish(TIMEOUT)
            if not message.is_published():
                raise OSError("the broker has not confirmed it")
        except (RuntimeError, ValueError) as error:
            raise OSError(str(error)) from None

    return send


def _url(given: str, flag: str, schemes: tuple[str, ...]) -> str:
    """The URL itself; one in a file is not seen in the list of processes."""
    text = read_text(given[1:]).strip() if given.startswith("@") else given
    try:
        parts = urlsplit(text)
        is_good = parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_good = False
    if not is_good:  # without its text, which may hold a password
        raise ConfigError(f"{flag}: must be {' or '.join(f'{one}://HOST' for one in schemes)}")
    return text


def _number(path: Path) -> int:
    text = read_text(path).strip()
    if not text.isdecimal():
        raise ConfigError(
            f"{path}: holds {text!r}, not a number; delete it to tell new events only"
        )
    return int(text)
