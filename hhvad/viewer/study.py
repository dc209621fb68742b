"""What the viewer shows of a study, read from its files into typed records."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from hhvad.artifacts import probe, scores
from hhvad.artifacts.probe import Probe
from hhvad.artifacts.scores import Floats
from hhvad.describe.report import sentence
from hhvad.errors import ArtifactError
from hhvad.files import read_json
from hhvad.localization import locator_file
from hhvad.localization.locator import Locator
from hhvad.records import Video


@dataclass(frozen=True)
class ViewerEvent:
    """One detected event: frames [start_frame, end_frame), the same in seconds, its highest score.

    started_at is the wall clock at its start as ISO 8601, '' where the video's is not known.
    """

    method: str
    video: str
    start_frame: int
    end_frame: int
    start_seconds: float
    end_seconds: float
    started_at: str
    peak_score: float
    description: str
    quiet: str = ""  # why it is no alarm, as a sentence at the start of its description


@dataclass(frozen=True)
class Curve:
    """The scores of one video by one method: segments' bounds in seconds [T, 2], values [T]."""

    bounds: Floats
    score: Floats
    smoothed: Floats


@dataclass(frozen=True)
class Shown:
    """One video with its results. curves has only the methods that have scored it.

    about: what a model says of the whole video; empty where it was not asked.
    annotated: the sheet's events in seconds; None where the video has no frame annotation.
    """

    video: Video
    probe: Probe
    curves: dict[str, Curve]
    events: list[ViewerEvent]
    annotated: list[tuple[float, float]] | None
    about: str = ""


def read_locators(results: Path, methods: Sequence[str]) -> dict[str, Locator]:
    """The locator of every method. Raises ArtifactError where one is absent."""
    return {name: locator_file.read(results / "locator" / f"{name}.json") for name in methods}


def read_video(
    results: Path, video: Video, methods: Sequence[str], described: str | None = None
) -> Shown | None:
    """A video's results; None where no method has scored it.

    described: the method whose events have descriptions.
    Raises ArtifactError or AnnotationError, which name the file that is damaged or absent.
    """
    name = video.video
    scored = [m for m in methods if (results / "localization" / m / f"{name}.tsv").is_file()]
    if not scored:
        return None
    info = probe.read(results / "probe" / f"{name}.json")
    events: list[ViewerEvent] = []
    started = info.started
    for method in scored:
        found, started = read_events(results / "events" / method / f"{name}.json", method, name)
        events += found
    info = replace(info, started=started)
    curves = {m: _curve(results / "localization" / m / f"{name}.tsv", info) for m in scored}
    annotated = None
    if video.events is not None:
        annotated = [
            (event.start, event.end)
            if event.unit == "seconds"
            else (info.seconds(int(event.start)), info.times.until(int(event.end)))
            for event in video.events
        ]
    about, sentences = _descriptions(results, described, name)
    events = [
        replace(event, description=f"{event.quiet} {sentences[event.start_frame]}".strip())
        if event.method == described and event.start_frame in sentences
        else event
        for event in events
    ]
    return Shown(video, info, curves, events, annotated, about)


def _descriptions(results: Path, method: str | None, video: str) -> tuple[str, dict[int, str]]:
    """What was said of a video, and of its events by their first frames."""
    path = results / "descriptions" / str(method) / f"{video}.json"
    if method is None or not path.is_file():
        return "", {}
    data = read_json(path)
    try:
        said = {int(entry["start_frame"]): sentence(entry) for entry in data["events"]}
        about = sentence(data["about"])
    except (KeyError, TypeError, ValueError) as error:
        raise ArtifactError(
            f"{path}: not a file of descriptions ({error!r}); delete it and rerun"
        ) from error
    return plain(about), {start: plain(text) for start, text in said.items()}


def _curve(path: Path, info: Probe) -> Curve:
    import numpy as np

    bounds, (score, smoothed) = scores.read_video(path, ("score", "smoothed"))
    if not (np.isfinite(score).all() and np.isfinite(smoothed).all()):
        raise ArtifactError(f"{path}: a score is not finite; delete the file and rerun")
    return Curve(info.times.all_seconds(bounds), score, smoothed)


def read_events(path: Path, method: str, video: str) -> tuple[list[ViewerEvent], str | None]:
    """The events of one file of `localize-events`, and when frame 0 was recorded, where known.

    Raises ArtifactError where it is no such file.
    """
    data = read_json(path)
    try:
        started = data.get("started")
        if started is not None:
            datetime.fromisoformat(started)
        return [_event(entry, method, video) for entry in data["events"]], started
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ArtifactError(
            f"{path}: not an events file of this hhvad ({error!r}); delete it and rerun"
        ) from error


def _event(entry: dict[str, Any], method: str, video: str) -> ViewerEvent:
    start, end, peak = (float(entry[k]) for k in ("start_seconds", "end_seconds", "peak_score"))
    if not all(map(math.isfinite, (start, end, peak))):
        raise ValueError("a number is not finite")
    return ViewerEvent(
        method=method,
        video=video,
        start_frame=int(entry["start_frame"]),
        end_frame=int(entry["end_frame"]),
        start_seconds=start,
        end_seconds=end,
        started_at=str(entry.get("started_at") or ""),
        peak_score=peak,
        description=plain(f"{_quiet(entry)} {entry.get('description') or ''}"),
        quiet=plain(_quiet(entry)),
    )


def _quiet(entry: dict[str, Any]) -> str:
    """Why an event is no alarm; '' where it is one."""
    if entry.get("suppressed"):
        like, cosine = entry["suppressed"], entry["cosine"]
        return f"Suppressed: like the event marked false in {like} (similarity {cosine})."
    return "Ignored: in the camera's ignored hours." if entry.get("ignored") else ""


def plain(text: str) -> str:
    """Text on one line without control characters: a model's or a sheet's text is only data."""
    kept = "".join(" " if unicodedata.category(c) in ("Cc", "Cf", "Cs") else c for c in text)
    return " ".join(kept.split())


def ranked(events: Sequence[ViewerEvent], methods: Sequence[str]) -> list[ViewerEvent]:
    """Events by falling peak score; equal ones by method as given, video and start."""
    order = {method: i for i, method in enumerate(methods)}
    return sorted(events, key=lambda e: (-e.peak_score, order[e.method], e.video, e.start_frame))
