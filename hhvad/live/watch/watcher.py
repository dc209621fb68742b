"""The watcher: segments of all cameras in fair turns to one model, scores to events.

Everything that must outlive a crash is in two append-only files. The journal gets a line for each
camera whenever some of its segments are judged: their scores, the camera's state behind them, and
the changes of events. Only then the changes go to events.jsonl, which outputs read. A restart reads
the journal, writes the changes that events.jsonl lacks, and goes on behind the last segment.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hhvad.artifacts.probe import Probe
from hhvad.errors import ArtifactError
from hhvad.live.watch.folder import Clip, Folder
from hhvad.live.watch.journal import Journal, as_line
from hhvad.live.watch.life import Change, Life, Scored
from hhvad.live.watch.metrics import Metrics
from hhvad.live.watch.reader import Dropped, Failed, Open, Piece, Reader
from hhvad.localization.alarms import hours_of_day
from hhvad.localization.locator import Locator

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hhvad.live.watch.outputs import Output

    Judge = Callable[[NDArray[np.uint8], NDArray[np.float64]], NDArray[np.float64]]

BATCH = 128 * 2**20  # bytes of frames that the model gets at once
EVENTS = "events.jsonl"
STATE = ".watch"  # the folder of the journal and of what outputs have told


@dataclass(frozen=True)
class Settings:
    """gap: seconds between two recordings up to which they are one stream. silence: seconds
    without footage after which an open event is closed. max_behind: as in Reader. once: judge what
    is there, then end. poll: seconds between two looks into the folder."""

    gap: float = 1.0
    silence: float = 60.0
    max_behind: float | None = 60.0
    once: bool = False
    poll: float = 1.0


@dataclass(frozen=True)
class Done:
    """A recording that is judged to its end."""

    clip: Clip
    info: Probe
    bounds: NDArray[np.int64]
    scores: NDArray[np.float64]
    smoothed: NDArray[np.float64]
    taus: NDArray[np.float64]


@dataclass
class Camera:
    """A camera: its events, and the recording that is being judged.

    name: that recording, '' for none. scores, smoothed: of its segments so far. info: None until
    this process has opened it. heard: when footage last came, monotonic.
    """

    life: Life
    reader: Reader
    name: str = ""
    scores: list[float] = field(default_factory=list)
    smoothed: list[float] = field(default_factory=list)
    info: Probe | None = None
    taus: NDArray[np.float64] | None = None
    judged: int = 0  # segments that count
    heard: float = field(default_factory=time.monotonic)


class Watcher:
    """Judges the recordings of a folder as they come.

    open: probes and decodes a recording. judge: scores [S] of segments [S, F, H, W, 3] and their
    seconds [S, F]. locator: causal. stamp: what the scores depend on; where it differs from the
    last run's, smoothing starts anew. done: called for each recording that is judged.
    Raises ConfigError and ArtifactError as Folder and Journal.
    """

    def __init__(
        self,
        root: Path,
        open: Open,
        judge: Judge,
        locator: Locator,
        *,
        stamp: str,
        settings: Settings,
        metrics: Metrics | None = None,
        done: Callable[[Done], None] = lambda done: None,
    ) -> None:
        self.root, self.metrics = root, metrics or Metrics()
        self.outputs: list[Output] = []
        self.stopping = False
        self._open, self._judge, self._locator, self._settings = open, judge, locator, settings
        self._done = done
        self._wake = threading.Event()
        self._cameras: dict[str, Camera] = {}
        self._turn = 0
        self._folder = Folder(root)
        with ExitStack() as files:
            self._journal = files.enter_context(closing(Journal(root / STATE / "journal.jsonl")))
            self._events = files.enter_context(closing(Journal(root / EVENTS)))
            self._told = {as_line(line) for line in self._events.lines}
            lines, self._journal.lines = self._journal.lines, []
            self._publish(one for line in lines for one in line.get("changes", ()))
            self._restore(lines, stamp)
            self._files = files.pop_all()

    def _restore(self, lines: Sequence[Mapping[str, Any]], stamp: str) -> None:
        """Make the cameras as the last run left them, by the lines of its journal."""
        stamps = [line["stamp"] for line in lines if "stamp" in line]
        is_same = bool(stamps) and stamps[-1] == stamp
        states: dict[str, _State] = {}
        for number, line in enumerate(lines, start=1):
            if "stamp" in line:
                continue
            try:
                state = states.setdefault(line["camera"], _State())
                state.add(line)
                Life(line["camera"], self._locator).restore(state.life)
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                raise ArtifactError(
                    f"{self._journal.path}: line {number} is not of this hhvad ({error}); remove "
                    "the file to judge all recordings again"
                ) from error
            if line["over"]:
                self._folder.know(line["file"])
        for name, state in states.items():
            begun = (state.name, len(state.scores)) if is_same else ("", 0)
            camera = self._camera(name, *begun)
            camera.life.restore(state.life)
            if is_same:
                camera.name, camera.scores, camera.smoothed = (
                    state.name,
                    state.scores,
                    state.smoothed,
                )
            else:
                self._write(camera, "", camera.life.cut(), over=True)
        if not is_same:
            self._journal.append({"stamp": stamp})

    def run(self) -> None:
        """Judge until `stop`; with settings.once, until all that is there is judged."""
        try:
            looked = -np.inf
            while not self.stopping:
                self._require_outputs()
                if time.monotonic() - looked >= self._settings.poll:
                    looked = time.monotonic()
                    for clip in self._folder.new(wait=not self._settings.once):
                        self._camera(clip.camera).reader.add(clip)
                    self._close_silent(self._settings.silence)
                    self._count_waiting()
                self._wake.clear()
                if self._judge_some():
                    continue
                if self._settings.once and all(one.reader.idle for one in self._cameras.values()):
                    break
                self._wake.wait(self._settings.poll)
            if self._settings.once and not self.stopping:
                self._close_silent(0.0)
        finally:
            self.close()

    def stop(self) -> None:
        """Let `run` end soon; a signal handler may call this, since it takes no lock."""
        self.stopping = True

    def close(self) -> None:
        """End the threads and give the files back."""
        for camera in self._cameras.values():
            camera.reader.stop()
        for camera in self._cameras.values():
            camera.reader.join()
        self._files.close()

    def _camera(self, name: str, begun: str = "", skip: int = 0) -> Camera:
        """A camera; one that is new starts to read. begun and skip are as in Reader."""
        if name not in self._cameras:
            reader = Reader(
                self._open,
                max_behind=None if self._settings.once else self._settings.max_behind,
                wake=self._wake,
                begun=begun,
                skip=skip,
            )
            self._cameras[name] = Camera(Life(name, self._locator), reader)
        return self._cameras[name]

    def _judge_some(self) -> bool:
        """Take what is ready, in turns, and judge it; whether there was something."""
        pieces: list[Piece] = []
        cameras = list(self._cameras.values())
        order = cameras[self._turn :] + cameras[: self._turn]
        self._turn = (self._turn + 1) % max(1, len(cameras))
        took = False
        while True:
            before = len(pieces)
            for camera in order:
                if pieces and (len(pieces) + 1) * pieces[0].frames.nbytes > BATCH:
                    break
                found = camera.reader.take()
                if isinstance(found, Failed | Dropped):
                    took = True
                    if any(piece.clip.camera == found.clip.camera for piece in pieces):
                        self._judge_pieces(pieces)
                        pieces, before = [], -1
                    self._pass_over(camera, found)
                elif found is not None:
                    pieces.append(found)
            if len(pieces) == before:
                break
        if pieces:
            self._judge_pieces(pieces)
        return took or bool(pieces)

    def _judge_pieces(self, pieces: Sequence[Piece]) -> None:
        """Score segments in one batch, then go on with each camera's recordings."""
        began = time.monotonic()
        seconds = np.stack([piece.coming.seconds[piece.number] for piece in pieces])
        scores = self._judge(np.stack([piece.frames for piece in pieces]), seconds).tolist()
        footage = sum(_length(piece) for piece in pieces)
        self.metrics.judged(time.monotonic() - began, footage)
        runs: dict[str, list[tuple[Piece, float]]] = {}  # by recording
        for piece, score in zip(pieces, scores, strict=True):
            runs.setdefault(piece.clip.name, []).append((piece, score))
        for run in runs.values():
            self._go_on(run)

    def _go_on(self, run: Sequence[tuple[Piece, float]]) -> None:
        """A recording's next segments are scored: smooth, change events, write it down."""
        first, last = run[0][0], run[-1][0]
        clip, info, bounds = first.clip, first.info, first.coming.bounds
        camera = self._cameras[clip.camera]
        changes: list[Change] = []
        if camera.name != clip.name:
            changes += camera.life.begin(clip.started, self._settings.gap)
            camera.name, camera.scores, camera.smoothed, camera.info = clip.name, [], [], None
        if camera.info is None:
            camera.info = info
            hours = None
            if clip.started is not None:
                hours = hours_of_day(bounds, _at(info, clip.started))
            camera.taus = self._locator.taus(len(bounds), clip.camera, hours)
            camera.judged = self._locator.judged(bounds)
        taus = camera.taus if camera.taus is not None else np.empty(0)
        segments = [
            Scored(
                start=int(bounds[piece.number, 0]),
                end=int(bounds[piece.number, 1]),
                start_seconds=info.seconds(int(bounds[piece.number, 0])),
                end_seconds=info.times.until(int(bounds[piece.number, 1])),
                score=score,
                tau=float(taus[piece.number]),
                counts=piece.number < camera.judged,
            )
            for piece, score in run
        ]
        smoothed, changed = camera.life.feed(clip, segments)
        changes += changed
        scores = [score for _, score in run]
        camera.scores += scores
        camera.smoothed += smoothed
        if last.is_last:
            ended = None
            if clip.started is not None:
                ended = clip.started + timedelta(seconds=info.times.until(info.frames))
            changes += camera.life.end(info.frames, ended)
        self._write(camera, clip.name, changes, over=last.is_last, scores=scores, smoothed=smoothed)
        self._note(clip, camera, segments, smoothed)
        if last.is_last:
            self.metrics.camera(clip.camera).files += 1
            whole = np.array(camera.scores), np.array(camera.smoothed)
            camera.name = ""
            self._done(Done(clip, _at(info, clip.started), bounds, *whole, taus))

    def _note(
        self, clip: Clip, camera: Camera, segments: Sequence[Scored], smoothed: Sequence[float]
    ) -> None:
        now = datetime.now(UTC)
        camera.heard = time.monotonic()
        for one, value in zip(segments, smoothed, strict=True):
            late = None
            if clip.started is not None:
                end = clip.started + timedelta(seconds=one.end_seconds)
                late = (now - end).total_seconds()
            self.metrics.scored(clip.camera, value, late)

    def _pass_over(self, camera: Camera, found: Failed | Dropped) -> None:
        """A recording is not judged, or not to its end: what comes next is behind a gap."""
        counts = self.metrics.camera(found.clip.camera)
        if isinstance(found, Failed):
            counts.failed += 1
            print(f"hhvad: note: not judged: {found.why}", file=sys.stderr)
            what = {"failed": found.why}
        else:
            counts.dropped += 1
            what = {"dropped": "newer recordings wait"}
        changes = camera.life.cut()
        camera.life.ended = None
        camera.name = ""
        self._write(camera, found.clip.name, changes, over=True, **what)

    def _write(
        self, camera: Camera, name: str, changes: Sequence[Change], *, over: bool, **what: Any
    ) -> None:
        """Write down what happened to a recording, then publish what it changes."""
        line = {"camera": camera.life.camera, "file": name, "over": over, **what}
        line["life"] = camera.life.to_json()
        self._journal.append({**line, "changes": changes})
        self._publish(changes)
        counts = self.metrics.camera(camera.life.camera)
        counts.events += sum(one["state"] == "open" for one in changes)
        counts.is_open = camera.life.event is not None

    def _publish(self, changes: Iterable[Change]) -> None:
        """Append the changes that events.jsonl does not have."""
        new = [one for one in changes if as_line(one) not in self._told]
        if new:
            self._events.append(*new)
            self._told |= {as_line(one) for one in new}
        for output in self.outputs:
            output.wake()

    def _close_silent(self, seconds: float) -> None:
        """Close the events of cameras from which nothing has come for so long."""
        for camera in self._cameras.values():
            is_silent = camera.reader.idle and time.monotonic() - camera.heard >= seconds
            if is_silent and camera.life.event is not None:
                self._write(camera, "", camera.life.close(), over=True)

    def _count_waiting(self) -> None:
        for name, camera in self._cameras.items():
            counts = self.metrics.camera(name)
            counts.waiting, counts.behind = camera.reader.waiting()

    def _require_outputs(self) -> None:
        for output in self.outputs:
            if output.broken is not None:
                raise output.broken


@dataclass
class _State:
    """What the journal says of a camera. name, scores, smoothed: of an unfinished recording."""

    name: str = ""
    scores: list[float] = field(default_factory=list)
    smoothed: list[float] = field(default_factory=list)
    life: dict[str, Any] = field(default_factory=dict)

    def add(self, line: Mapping[str, Any]) -> None:
        """Take a line of the camera. Raises KeyError, TypeError or AttributeError for another."""
        self.life = line["life"]
        if line["over"] or line["file"] != self.name:
            self.scores, self.smoothed = [], []
        self.name = "" if line["over"] else line["file"]
        if not line["over"]:
            self.scores = self.scores + line["scores"]
            self.smoothed = self.smoothed + line["smoothed"]


def _length(piece: Piece) -> float:
    start, end = piece.coming.bounds[piece.number].tolist()
    return piece.info.times.until(end) - piece.info.seconds(start)


def _at(info: Probe, started: datetime | None) -> Probe:
    """The probe with the start that the recording's name tells."""
    return info if started is None else replace(info, started=started.isoformat())
