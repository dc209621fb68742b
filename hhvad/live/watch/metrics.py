"""Numbers of a running watcher: Prometheus text over HTTP, and a line for people."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np

from hhvad.errors import ConfigError

_KEPT = 1000  # latencies that quantiles are taken from


@dataclass
class Camera:
    """The numbers of one camera. latency: seconds from the end of a segment to its score, by the
    wall clock of the recordings; failed and dropped count recordings."""

    segments: int = 0
    files: int = 0
    failed: int = 0
    dropped: int = 0
    events: int = 0
    is_open: bool = False
    waiting: int = 0
    behind: float = 0.0
    score: float | None = None
    scored_at: float = 0.0  # monotonic
    latency: deque[float] = field(default_factory=lambda: deque(maxlen=_KEPT))
    latency_sum: float = 0.0
    latency_count: int = 0


_OF_CAMERA = (
    ("segments_total", "counter", "Segments that were judged."),
    ("files_total", "counter", "Recordings that were judged to their end."),
    ("failed_files_total", "counter", "Recordings that could not be judged."),
    ("dropped_files_total", "counter", "Recordings left out since the watcher was behind."),
    ("events_total", "counter", "Events that opened."),
    ("open_events", "gauge", "Events that are open now."),
    ("waiting_files", "gauge", "Recordings that wait."),
    ("behind_seconds", "gauge", "From the oldest recording that waits to the newest."),
    ("score", "gauge", "Smoothed score of the last segment."),
    ("score_age_seconds", "gauge", "Since the last segment was judged."),
)


class Metrics:
    """All numbers; safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._cameras: dict[str, Camera] = {}
        self._work = 0.0  # seconds in the model
        self._footage = 0.0  # seconds of footage that were judged
        self._outputs: dict[str, tuple[int, int, int]] = {}

    def camera(self, name: str) -> Camera:
        """The numbers of a camera, to be changed by the watcher alone."""
        with self._lock:
            return self._cameras.setdefault(name, Camera())

    def judged(self, work: float, footage: float) -> None:
        """The model took `work` seconds for so many seconds of footage."""
        with self._lock:
            self._work += work
            self._footage += footage

    def scored(self, camera: str, smoothed: float, late: float | None) -> None:
        """A segment has its score, `late` seconds after its end; None: not known."""
        one = self.camera(camera)
        with self._lock:
            one.segments += 1
            one.score, one.scored_at = smoothed, time.monotonic()
            if late is not None:
                one.latency.append(late)
                one.latency_sum += late
                one.latency_count += 1

    def output(self, name: str, told: int, waiting: int, dropped: int) -> None:
        """What an output has told, has yet to tell, and has given up."""
        with self._lock:
            self._outputs[name] = (told, waiting, dropped)

    @property
    def real_time_factor(self) -> float | None:
        """Seconds in the model per second of footage: below 1 it keeps up."""
        return self._work / self._footage if self._footage else None

    def text(self) -> str:
        """Everything in Prometheus' text format."""
        with self._lock:
            lines: list[str] = []
            values = {name: _values(one) for name, one in sorted(self._cameras.items())}
            for at, (name, kind, about) in enumerate(_OF_CAMERA):
                rows = [
                    (f'{{camera="{_quoted(camera)}"}}', found[at])
                    for camera, found in values.items()
                ]
                lines += _family(name, kind, about, rows)
            rows = []
            for camera, one in sorted(self._cameras.items()):
                label = f'camera="{_quoted(camera)}"'
                if one.latency:
                    for q in (0.5, 0.95):
                        value = float(np.quantile(list(one.latency), q))
                        rows.append((f'{{{label},quantile="{q:g}"}}', value))
                rows.append((f"_sum{{{label}}}", one.latency_sum))
                rows.append((f"_count{{{label}}}", float(one.latency_count)))
            about = "From the end of a segment to its score, by the recordings' clock."
            lines += _family("latency_seconds", "summary", about, rows)
            factor = self.real_time_factor
            about = "Seconds in the model per second of footage: below 1 it keeps up."
            lines += _family("real_time_factor", "gauge", about, [("", factor)])
            for at, (name, kind, about) in enumerate(
                (
                    ("told_total", "counter", "Changes of events that an output has told."),
                    (
                        "untold_changes",
                        "gauge",
                        "Changes of events that an output has yet to tell.",
                    ),
                    ("given_up_total", "counter", "Changes that an output has given up telling."),
                )
            ):
                rows = [
                    (f'{{output="{_quoted(output)}"}}', float(counts[at]))
                    for output, counts in sorted(self._outputs.items())
                ]
                lines += _family(name, kind, about, rows)
        return "".join(f"{line}\n" for line in lines)

    def line(self) -> str:
        """All of it in a line for people."""
        with self._lock:
            cameras = list(self._cameras.items())
            factor = self.real_time_factor
            words = [
                f"{len(cameras)} cameras",
                f"{sum(one.segments for _, one in cameras)} segments",
                f"{sum(one.events for _, one in cameras)} events",
                f"{sum(one.is_open for _, one in cameras)} open",
            ]
            counts = {
                "waiting": sum(one.waiting for _, one in cameras),
                "dropped": sum(one.dropped for _, one in cameras),
                "failed": sum(one.failed for _, one in cameras),
            }
            words += [f"{count} files {what}" for what, count in counts.items() if count]
            behind = max((one.behind for _, one in cameras), default=0.0)
            words += [f"{behind:.0f} s behind"] if behind else []
            words += [] if factor is None else [f"real-time factor {factor:.2f}"]
        return ", ".join(words)


def _values(one: Camera) -> tuple[float | None, ...]:
    """In the order of _OF_CAMERA."""
    age = None if one.score is None else time.monotonic() - one.scored_at
    counts = (one.segments, one.files, one.failed, one.dropped, one.events, one.is_open)
    return (*map(float, counts), float(one.waiting), one.behind, one.score, age)


def _family(name: str, kind: str, about: str, rows: list[tuple[str, float | None]]) -> list[str]:
    """A metric's lines; a value that is None is not known yet and left out."""
    full = f"hhvad_{name}"
    lines = [f"{full}{label} {value!r}" for label, value in rows if value is not None]
    return [f"# HELP {full} {about}", f"# TYPE {full} {kind}", *lines] if lines else []


def _quoted(text: str) -> str:
    """Text as it stands in a label."""
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def serve(metrics: Metrics, address: str) -> ThreadingHTTPServer:
    """Serve /metrics at PORT, for this machine alone, or at HOST:PORT. A daemon thread answers.

    Raises ConfigError where the address cannot be used.
    """
    host, _, port = address.rpartition(":")

    class Handler(BaseHTTPRequestHandler):
        timeout = 10

        def do_GET(self) -> None:
            """Answer one request."""
            if self.path.split("?")[0] != "/metrics":
                self.send_error(404)
                return
            body = metrics.text().encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Requests are not logged."""

    try:
        server = ThreadingHTTPServer((host or "127.0.0.1", int(port)), Handler)
    except (OSError, OverflowError, ValueError) as error:
        raise ConfigError(
            f"--metrics {address}: cannot be served ({error}); give a free PORT or HOST:PORT"
        ) from None
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server
