"""The metrics of one method in a run: its score and event files, read and judged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hhvad import sheet
from hhvad.artifacts import probe, scores
from hhvad.errors import ArtifactError
from hhvad.evaluation import evaluate
from hhvad.files import read_json, read_tsv
from hhvad.localization.locator import Locator, frame_counts, shortest_event
from hhvad.records import Event, Video


@dataclass(frozen=True)
class Folders:
    """Where a run keeps VIDEO.tsv of a method's scores and events, and VIDEO.json of its probes."""

    scores: Path
    events: Path
    probes: Path


def report(
    method: str,
    locator: Locator,
    videos: Sequence[Video],
    folders: Folders,
    *,
    dataset: str,
    interval: str,
    resamples: int,
    seed: int,
    answers: Path | None = None,
) -> dict[str, Any]:
    """The result of `evaluate.evaluate` for the labelled ones of the videos, and whose it is.

    answers: a folder of VIDEO.json with counts of what an LLM's answers lacked; they become notes.

    Raises ArtifactError, AnnotationError or SheetError, which name the file or row at fault.
    """
    labelled = [video for video in videos if video.label is not None]
    shortest = shortest_event(locator.sigma, locator.tau, locator.border, locator.causal)
    fixed = (
        f"tau {locator.tau} is a fixed value, not calibrated on validation events; the shortest "
        f"run of certain segments that it finds is {shortest or 'none'}"
    )
    result = evaluate.evaluate(
        [scored(video, folders, interval, locator) for video in labelled],
        dataset=dataset,
        interval=interval,
        tau=locator.tau,
        resamples=resamples,
        seed=seed,
        left_out={"unlabelled": [video.video for video in videos if video.label is None]},
        notes=[
            *([] if locator.calibrated else [fixed]),
            *(answer_notes(answers, [video.video for video in labelled]) if answers else []),
            *_alarm_notes(locator, labelled, folders),
            *_damage_notes(labelled, folders),
        ],
    )
    return {"method": method, "locator": locator.to_json(), **result}


# What is counted about texts of models in `ratings/{method}/{video}.json`, as a note says it.
_COUNTED = {
    "unreadable": "of {windows} windows have an answer without a number from 0 to 1 in square "
    "brackets; their scores are interpolated from their neighbours'",
    "ratings_cut": "windows have a rating that the limit of tokens ended",
    "summaries_cut": "windows have a summary that the limit of tokens ended",
    "captions_cut": "captions were ended by the limit of tokens",
    "captions_cut_by_encoder": "distinct captions are longer than the encoder reads; it saw their "
    "beginning",
}


def answer_notes(folder: Path, videos: Sequence[str]) -> list[str]:
    """A sentence for each thing that the videos' files count at least once."""
    counts: Counter[str] = Counter()
    for name in videos:
        found = read_json(folder / f"{name}.json")
        counts.update({key: found.get(key, 0) for key in ("windows", *_COUNTED)})
    return [
        f"{counts[key]} {said.format(windows=counts['windows'])}"
        for key, said in _COUNTED.items()
        if counts[key]
    ]


def _alarm_notes(locator: Locator, labelled: Sequence[Video], folders: Folders) -> Iterator[str]:
    """With which thresholds and settings the events were made, where these are not the usual."""
    if locator.budget is not None:
        yield (
            f"each camera has a threshold of its own ({locator.how}); the tau above is that of an "
            "unknown camera"
        )
    for video in labelled[:1]:
        path = folders.events / f"{video.video}.json"
        shown = read_json(path).get("alarms") if path.is_file() else None
        if shown:
            yield f"events are those that are shown: {shown}"


def _damage_notes(labelled: Sequence[Video], folders: Folders) -> Iterator[str]:
    """How many frames are damaged and so not judged."""
    paths = [folders.probes / f"{video.video}.json" for video in labelled]
    damaged = [probe.read(path) for path in paths if probe.has_damage(path)]
    lost = [one.frames - len(one.undamaged()) for one in damaged]
    if lost:
        yield (
            f"{sum(lost)} frames of {len(lost)} videos are damaged: the segments that touch them "
            "have no score and are not judged"
        )


def scored(video: Video, folders: Folders, interval: str, locator: Locator) -> evaluate.Scored:
    """A labelled video of the sheet with its scores, events and annotation in frames.

    Without its last segment, and as long as the others reach, where the locator drops it.
    """
    name = video.video
    info = probe.read(folders.probes / f"{name}.json")
    path = folders.scores / f"{name}.tsv"
    bounds, columns = scores.read_video(path, ("smoothed", "score"))
    given = (scores.Segments(bounds, column) for column in columns)
    smoothed, raw = (
        scores.check(str(path), one, info.frames, damaged=info.damaged)[0] for one in given
    )
    judged = locator.judged(bounds)
    n_frames = info.frames if judged == len(bounds) else int(bounds[judged - 1, 1])
    annotated = None
    if video.events is not None:
        events = sheet.event_frames(video, info)
        annotated = evaluate.events_in(events, n_frames, interval)
        if info.damaged:  # an event of which no frame is left cannot be found
            annotated = tuple(e for e in annotated if frame_counts(bounds, [e])[:, 1].any())
    taus = scores.read_taus(path)
    return evaluate.Scored(
        video=name,
        label=str(video.label),
        categories=evaluate.parse_categories(video.category),
        n_frames=n_frames,
        events=annotated,
        bounds=smoothed.bounds[:judged],
        scores=locator.measured(smoothed.scores, smoothed.bounds),
        raw=raw.scores[:judged],
        detected=_read_events(folders.events / f"{name}.tsv"),
        times=info.times,
        taus=None if taus is None else taus[:judged],
    )


def _read_events(path: Path) -> tuple[Event, ...]:
    try:
        return tuple(
            Event(int(row["start_frame"]), int(row["end_frame"]), float(row["peak_score"]))
            for row in read_tsv(path, ("start_frame", "end_frame", "peak_score"))
            if row.get("ignored") != "1" and not row.get("suppressed")
        )
    except ValueError as error:
        raise ArtifactError(f"{path}: {error}; delete it and rerun") from error
