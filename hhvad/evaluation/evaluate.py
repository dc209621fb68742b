"""Scores against annotations: every metric with its interval, beside baselines that see nothing.

One code path for a run of ours (`hhvad report-metrics`) and for anybody's scores
(`hhvad evaluate`): a list of `Scored` videos in, one JSON-like dict out. Nothing in it is NaN: a
metric that is not defined is null, with the reason.
"""

from __future__ import annotations

import io
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from rich.text import Text

from hhvad.artifacts.scores import Segments, check
from hhvad.datasets.annotation import Annotation, fit, video_id
from hhvad.errors import AnnotationError
from hhvad.evaluation import alarms, intervals, metrics, published
from hhvad.evaluation.metrics import Floats, Ints
from hhvad.localization import locator
from hhvad.media.time import FrameTimes
from hhvad.records import Event

INTERVALS = ("half-open", "inclusive")
CATEGORY_SEPARATOR = ";"
COLUMNS = ("metric", "value", "low", "high", "kind", "meaning")

CURVES: dict[str, Callable[[Floats, Floats], float]] = {
    "auc": metrics.auc,
    "ap_step": metrics.ap_step,
    "ap_trapezoid": metrics.ap_trapezoid,
}

AREAS = {
    "auc": "ROC-AUC",
    "ap_step": "step-wise average precision",
    "ap_trapezoid": "trapezoid area under the precision-recall curve",
}

MEANINGS = {
    **{name: f"{area}, frames of all annotated videos" for name, area in AREAS.items()},
    **{
        f"{name}_abnormal": f"{area}, frames of abnormal videos alone: localisation"
        for name, area in AREAS.items()
    },
    "video_auc": "ROC-AUC of whole videos, each by its highest score",
    "best_f1": "largest F1 over frames for any threshold; chosen on these videos, so optimistic",
    "f1_at_tau": "F1 over frames at the detector's threshold tau",
    "precision": "share of the frames above tau that are anomalous",
    "recall": "share of the anomalous frames that are above tau",
    "false_alarm_rate": "share of the normal frames, in all videos, that are above tau",
    "false_alarm_rate_normal_videos": "share of the frames of normal videos that are above tau",
    "event_recall": "share of the annotated events with at least one frame above tau",
    "detection_delay_frames": "mean frames from an event's start to its first frame above tau, "
    "over the events that have one",
    "detection_delay_seconds": "the same delay in seconds, by the times of each video's frames",
    "false_alarms_per_hour": "runs of frames above tau per hour of normal video",
    "false_alarms_per_hour_at_recall": "the same at the highest threshold that finds "
    f"{alarms.RECALL:.0%} of the annotated events",
    "latency_ap": "average precision of frames over events, each counted by the share of it that "
    "is left at its first alarm: a late alarm counts less",
    "event_map": "mean of the event-level average precision over temporal IoU 0.1 ... 0.7",
    **{
        f"event_ap_{iou}": f"average precision of the detected events at temporal IoU {iou}"
        for iou in metrics.IOUS
    },
}

AT_TAU = (
    "f1_at_tau",
    "precision",
    "recall",
    "false_alarm_rate",
    "false_alarm_rate_normal_videos",
    "event_recall",
    "detection_delay_frames",
    "detection_delay_seconds",
    "false_alarms_per_hour",
)

DELAYS = ("detection_delay_frames", "detection_delay_seconds")
PER_HOUR = ("false_alarms_per_hour", "false_alarms_per_hour_at_recall")
FROM_ABNORMAL_VIDEOS = ("recall", "event_recall", *DELAYS)
FROM_NORMAL_VIDEOS = ("false_alarm_rate_normal_videos", "false_alarms_per_hour")

# Categories of normal videos (crowds, rain, ...) are named so, apart from those of events.
NORMAL = "normal: "
QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)

# What they are made of: frames by class and those of them above tau; events, those found, delays.
SUMS = (
    *("positive", "hit", "negative", "alarm", "normal", "normal_alarm"),
    *("event", "found", "frames", "seconds"),
)

BASELINES = {
    "centre prior": "the same bump over every video, highest in its middle",
    "1 / frames": "short videos are anomalous",
    "perfect video label": "knows which videos are abnormal, constant in each of them",
    "perfect video label x centre prior": "knows which videos are abnormal, and the bump",
}


@dataclass(frozen=True)
class Scored:
    """One labelled test video: its annotation and its scores.

    events are anomalous frames [start, end) inside the video; None where only the video's label is
    known. bounds int [T, 2] and scores [T] say which frames [start, end) have which score. raw [T]
    are the scores before smoothing, detected the events found; None where there are none to judge.
    times say when its frames are; None where that is not known. taus [T]: a threshold per segment,
    where it is not that of all videos.
    """

    video: str
    label: str
    categories: tuple[str, ...]
    n_frames: int
    events: tuple[tuple[int, int], ...] | None
    bounds: Ints
    scores: Floats
    raw: Floats | None = None
    detected: tuple[Event, ...] | None = None
    times: FrameTimes | None = None
    taus: Floats | None = None


def join(
    annotations: Sequence[Annotation],
    given: Mapping[str, Segments],
    *,
    source: str | Path,
    interval: str = "half-open",
    tau: float | None = None,
    allow_missing: bool = False,
    one_class: bool = False,
) -> tuple[list[Scored], dict[str, list[str]], list[str]]:
    """A dataset's videos with anybody's scores; what is left out by reason; and notes.

    Raises AnnotationError, which names them: videos without a score, scores without a video, frames
    that `scores.check` refuses, all videos of one class. With allow_missing they are left out.
    one_class: the data set has no normal videos, only normal frames.
    """
    by_id: dict[str, Segments] = {}
    for name, segments in given.items():
        if video_id(name) in by_id:
            raise AnnotationError(f"{source}: {name} and {video_id(name)} are one video")
        by_id[video_id(name)] = segments
    known = {one.video for one in annotations}
    left_out: dict[str, list[str]] = {
        "videos without a score": [one.video for one in annotations if one.video not in by_id],
        "scores without a video": [name for name in by_id if name not in known],
    }
    for what, names in left_out.items():
        if names and not allow_missing:
            raise AnnotationError(
                f"{source}: {len(names)} {what}: {_some(names)}; --allow-missing leaves them out"
            )
    frames: Counter[str] = Counter()
    affected: dict[str, list[str]] = {}
    videos, notes = [], []
    for annotation in annotations:
        if annotation.video not in by_id:
            continue
        one, changes = fit(annotation, empty=interval == "inclusive")
        notes += changes
        n_frames = int(one.n_frames or 0)
        where = f"{source}: video {one.video}"
        (bounds, scores), passed = check(
            where, by_id[one.video], n_frames, allow_missing=allow_missing
        )
        for what, count in passed.items():
            frames[what] += count
            affected.setdefault(what, []).append(one.video)
        if not len(scores):
            left_out["videos without a score"].append(one.video)
            continue
        found = None if tau is None else tuple(locator.events(scores, tau, bounds))
        videos.append(
            Scored(
                video=one.video,
                label=one.label,
                categories=one.categories,
                n_frames=n_frames,
                events=events_in(one.events or (), n_frames, interval),
                bounds=bounds,
                scores=scores,
                detected=found,
                times=FrameTimes(n_frames, Fraction(one.fps)) if one.fps else None,
            )
        )
    classes = {video.label for video in videos}
    if len(classes) == 1 and not (allow_missing or one_class):
        raise AnnotationError(
            f"{source}: all {len(videos)} videos are of class {classes.pop()}: AUC is not defined; "
            "--allow-missing reports what is"
        )
    for what, names in affected.items():
        left_out[f"{what} ({frames[what]} frames)"] = names
    return videos, left_out, notes


def evaluate(
    videos: Sequence[Scored],
    *,
    dataset: str = "none",
    interval: str = "half-open",
    tau: float | None = None,
    resamples: int = 1000,
    seed: int = 0,
    left_out: Mapping[str, Sequence[str]] | None = None,
    notes: Sequence[str] = (),
) -> dict[str, Any]:
    """Every metric of the scored videos, with 95 % intervals over the videos.

    Each interval names its kind, one of `intervals.KINDS`. resamples and seed are of the bootstrap,
    which some of them need. left_out: what was not judged, by reason; it goes into the result as
    names and counts. Raises AnnotationError where there is no video at all.
    """
    if not videos:
        raise AnnotationError(
            "no test video has both a label and scores: there is nothing to judge"
        )
    table = Judged(videos, tau)
    estimates = metrics.bootstrap(table.statistics, len(videos), resamples, seed)
    without = intervals.leave_out(table.statistics, len(videos))
    entries = {
        name: _entry(name, estimate, without[name], table) for name, estimate in estimates.items()
    }
    measured = {name: entries[name] for name in MEANINGS}
    measured["best_f1"]["threshold"] = table.best_threshold()
    annotated = [video for video in videos if video.events is not None]
    return {
        "dataset": dataset,
        "interval": interval,
        "tau": tau,
        "videos": {
            "labelled": len(videos),
            "annotated": len(annotated),
            "normal": sum(video.label == "normal" for video in videos),
            "anomaly": sum(video.label == "anomaly" for video in videos),
        },
        "frames": {
            "annotated": sum(video.n_frames for video in annotated),
            "scored": int(table.at_tau["positive"].sum() + table.at_tau["negative"].sum()),
            "anomalous": int(table.at_tau["positive"].sum()),
        },
        "events": {
            "annotated": sum(len(video.events or ()) for video in annotated),
            "detected": (
                sum(len(video.detected or ()) for video in annotated) if table.has_events else None
            ),
        },
        "bootstrap": {"resamples": resamples, "seed": seed, "level": 0.95, "over": "videos"},
        "interval_kinds": intervals.KINDS,
        "left_out": {
            reason: {"count": len(names), "names": list(names)}
            for reason, names in (left_out or {}).items()
            if names
        },
        "metrics": measured,
        "raw": table.unsmoothed(),
        "categories": _categories(entries, table),
        "normal_categories": _normal_categories(entries, table),
        "delays": table.delays(),
        "baselines": baselines(annotated),
        "published": [
            {**row._asdict(), "source": published.REPORTED} for row in published.of(dataset)
        ],
        "per_video": {video.video: _one_video(video) for video in videos},
        "notes": [*_notes(videos, interval, tau, dataset), *notes],
    }


class Judged:
    """The videos as rankings of their segments, and every metric as a function of weights [V]."""

    def __init__(self, videos: Sequence[Scored], tau: float | None) -> None:
        self.videos = videos
        self.tau = tau
        self.annotated = [i for i, video in enumerate(videos) if video.events is not None]
        self.counts = {
            i: locator.frame_counts(videos[i].bounds, videos[i].events or ())
            for i in self.annotated
        }
        self.frames = self._ranking([videos[i].scores for i in self.annotated])
        abnormal = np.array([video.label == "anomaly" for video in videos])
        self.abnormal = self.frames.only(abnormal)
        highest = [video.scores.max() for video in videos]
        self.whole = metrics.rank(np.arange(len(videos)), highest, abnormal, ~abnormal)
        self.categories = {}
        for name in sorted({name for video in videos for name in video.categories}):
            member = abnormal & np.array([name in video.categories for video in videos])
            if member.any():
                self.categories[name] = (
                    self.frames.only(member | ~abnormal),
                    self.frames.only(member),
                )
        self.kinds_of_normal = {}
        for name in sorted({name for v in videos if v.label == "normal" for name in v.categories}):
            member = ~abnormal & np.array([name in video.categories for video in videos])
            self.kinds_of_normal[name] = (
                member.astype(np.float64),
                self.frames.only(member | abnormal),
            )
        self.alarms = alarms.table(
            [video.bounds for video in videos],
            [video.scores for video in videos],
            [video.events for video in videos],
            ~abnormal,
            [_hours(video) for video in videos],
        )
        self.has_events = bool(self.annotated) and all(
            videos[i].detected is not None for i in self.annotated
        )
        self.matches = metrics.match_events(
            [
                [(e.start, e.end, e.peak) for e in video.detected or () if video.events is not None]
                for video in videos
            ],
            [video.events or () for video in videos],
        )
        self.at_tau = self._at_tau()

    def _ranking(self, scores: Sequence[Floats]) -> metrics.Ranking:
        """A ranking of the annotated videos by these scores, one [T] for each of them."""
        counts = np.concatenate([np.zeros((0, 2)), *self.counts.values()])
        video = np.repeat(self.annotated, [len(one) for one in self.counts.values()])
        return metrics.rank(video, np.concatenate([[], *scores]), counts[:, 1], counts[:, 0])

    def _at_tau(self) -> dict[str, Floats]:
        """Sums of each video [V] that the metrics at the threshold are made of."""
        sums = {name: np.zeros(len(self.videos)) for name in SUMS}
        for i, counts in self.counts.items():
            video = self.videos[i]
            negative, positive = counts.sum(axis=0)
            sums["positive"][i], sums["negative"][i] = positive, negative
            sums["event"][i] = len(video.events or ())
            if video.label == "normal":
                sums["normal"][i] = negative
            if self.tau is None:
                continue
            above = video.scores > (self.tau if video.taus is None else video.taus)
            sums["alarm"][i], sums["hit"][i] = counts[above].sum(axis=0)
            if video.label == "normal":
                sums["normal_alarm"][i] = sums["alarm"][i]
            events = video.events or ()
            alarms = metrics.first_alarms(video.bounds, above, events)
            late = [
                (start, start + delay)
                for (start, _), delay in zip(events, alarms, strict=True)
                if delay is not None
            ]
            sums["found"][i] = len(late)
            sums["frames"][i] = sum(end - start for start, end in late)
            sums["seconds"][i] = video.times.between(late) if video.times else math.nan
        return sums

    def statistics(self, weights: Floats) -> dict[str, float]:
        """Every metric by name; those of a category as `name[category]`."""
        counts = self.frames.counts(weights)
        result = {name: curve(*counts) for name, curve in CURVES.items()}
        result["best_f1"] = metrics.best_f1(*counts)[0]
        result["latency_ap"] = math.nan
        if self.annotated:
            result["latency_ap"] = self.alarms.latency_ap(weights, self.frames, *counts)
        result["false_alarms_per_hour_at_recall"] = self.alarms.per_hour_at_recall(weights)
        counts = self.abnormal.counts(weights)
        result |= {f"{name}_abnormal": curve(*counts) for name, curve in CURVES.items()}
        result["video_auc"] = metrics.auc(*self.whole.counts(weights))
        result |= self._statistics_at_tau(weights)
        result |= self._statistics_of_events(weights)
        for kind, (member, ranking) in self.kinds_of_normal.items():
            name = f"[{NORMAL}{kind}]"
            result[f"auc{name}"] = metrics.auc(*ranking.counts(weights))
            at_tau = self._statistics_at_tau(weights * member)
            result |= {f"{one}{name}": at_tau[one] for one in FROM_NORMAL_VIDEOS}
        for category, (with_normal, alone) in self.categories.items():
            counts = with_normal.counts(weights)
            result |= {f"{name}[{category}]": curve(*counts) for name, curve in CURVES.items()}
            result[f"auc_abnormal[{category}]"] = metrics.auc(*alone.counts(weights))
        return result

    def _statistics_at_tau(self, weights: Floats) -> dict[str, float]:
        if self.tau is None:
            return dict.fromkeys(AT_TAU, math.nan)
        total = {name: float(weights @ values) for name, values in self.at_tau.items()}
        called = total["hit"] + total["alarm"]
        values = (
            # 2 TP / (called + annotated) has no meaning where no frame is anomalous.
            metrics.ratio(2 * total["hit"], called + total["positive"])
            if total["positive"]
            else math.nan,
            metrics.ratio(total["hit"], called),
            metrics.ratio(total["hit"], total["positive"]),
            metrics.ratio(total["alarm"], total["negative"]),
            metrics.ratio(total["normal_alarm"], total["normal"]),
            metrics.ratio(total["found"], total["event"]),
            metrics.ratio(total["frames"], total["found"]),
            metrics.ratio(total["seconds"], total["found"]),
            self.alarms.per_hour(weights, self.tau),
        )
        return dict(zip(AT_TAU, values, strict=True))

    def _statistics_of_events(self, weights: Floats) -> dict[str, float]:
        if self.has_events:
            values = metrics.event_ap(self.matches, weights)
        else:
            values = np.full(len(metrics.IOUS), math.nan)
        result = {"event_map": float(values.mean())}
        for iou, value in zip(metrics.IOUS, values.tolist(), strict=True):
            result[f"event_ap_{iou}"] = value
        return result

    def why_undefined(self, name: str) -> str:
        """Why a metric has no value on these videos."""
        base = name.partition("[")[0]
        if base == "video_auc":
            return "the videos are all of one class"
        if base in AT_TAU and self.tau is None:
            return "no threshold tau is given"
        if base.startswith("event_ap") or base == "event_map":
            if not self.has_events:
                return "no detected events are given: they need a threshold tau"
            return "no event is annotated"
        positive = self.at_tau["positive"].sum() > 0
        if not self.annotated:
            return "no video has a frame annotation"
        if base in ("detection_delay_frames", "detection_delay_seconds"):
            if not self.at_tau["found"].sum():
                return "no annotated event is found at tau"
            return "frame rates are not given"
        if base in PER_HOUR:
            if not any(video.label == "normal" for video in self.videos):
                return "there is no normal video"
            if not np.isfinite(self.alarms.hours).all():
                return "frame rates are not given"
            return "no event is annotated"
        if base == "latency_ap" and not self.alarms.events.sum():
            return "no event is annotated"
        if base == "precision":
            return "no frame is above tau"
        if base == "false_alarm_rate_normal_videos":
            return "there is no normal video"
        return "no normal frame" if positive else "no frame is anomalous"

    def videos_of_each_class(self, name: str) -> tuple[int, ...]:
        """How many abnormal and how many normal videos a metric rests on; classes without, out."""
        base, _, category = name.removesuffix("]").partition("[")
        all_of_them = base in ("video_auc", "false_alarms_per_hour")
        given = self.videos if all_of_them else [self.videos[i] for i in self.annotated]
        of_normal = category.startswith(NORMAL)
        wanted = {"normal" if of_normal else "anomaly": category.removeprefix(NORMAL)}

        def count(label: str) -> int:
            name = wanted.get(label)
            return sum(v.label == label and (not name or name in v.categories) for v in given)

        normal, abnormal = count("normal"), count("anomaly")
        if base.endswith("_abnormal") or base in FROM_ABNORMAL_VIDEOS:
            normal = 0
        elif base in FROM_NORMAL_VIDEOS:
            abnormal = 0
        return tuple(count for count in (abnormal, normal) if count)

    def delays(self) -> dict[str, Any] | None:
        """How late each annotated event is first found at tau; None without tau or events."""
        if self.tau is None or not self.alarms.events.sum():
            return None
        rows: list[dict[str, Any]] = []
        for i in self.annotated:
            video = self.videos[i]
            events = video.events or ()
            late = metrics.first_alarms(video.bounds, video.scores > self.tau, events)
            for (start, end), frames in zip(events, late, strict=True):
                seconds = None
                if frames is not None and video.times is not None:
                    seconds = video.times.between([(start, start + frames)])
                rows.append(
                    {
                        "video": video.video,
                        "start_frame": start,
                        "end_frame": end,
                        "delay_frames": frames,
                        "delay_seconds": seconds,
                    }
                )
        known = [row["delay_seconds"] for row in rows if row["delay_seconds"] is not None]
        return {
            "found": sum(row["delay_frames"] is not None for row in rows),
            "missed": sum(row["delay_frames"] is None for row in rows),
            "seconds_at": {f"{q:g}": float(np.quantile(known, q)) for q in QUANTILES}
            if known
            else None,
            "events": rows,
        }

    def best_threshold(self) -> float | None:
        """The score of largest F1: frames that reach it are called anomalous."""
        index = metrics.best_f1(*self.frames.counts())[1]
        return float(self.frames.scores[index]) if index >= 0 else None

    def unsmoothed(self) -> dict[str, float | None] | None:
        """The frame metrics of the scores before smoothing; None where they are not given."""
        raw = [self.videos[i].raw for i in self.annotated]
        given = [one for one in raw if one is not None]
        if not given or len(given) < len(raw):
            return None
        counts = self._ranking(given).counts()
        return {name: _number(curve(*counts)) for name, curve in CURVES.items()}


def _hours(video: Scored) -> float:
    """How long a video is; NaN where its frame times are not known."""
    return video.times.between([(0, video.n_frames)]) / 3600 if video.times else math.nan


def baselines(videos: Sequence[Scored]) -> list[dict[str, Any]]:
    """What scores that look at no frame reach on the same videos, by frame and exactly.

    videos: those with a frame annotation. All their frames count, scored or not.
    """
    rows: dict[str, list[tuple[Floats, Floats, Floats]]] = {name: [] for name in BASELINES}
    for video in videos:
        prior, distance = metrics.centre_prior(video.n_frames)
        anomalous = np.zeros(video.n_frames)
        for start, end in video.events or ():
            anomalous[start:end] = 1
        folded = np.bincount(distance, anomalous, minlength=len(prior)).astype(np.float64)
        size = np.bincount(distance, minlength=len(prior)).astype(np.float64)
        bump = folded, size - folded
        total = np.array([anomalous.sum()])
        whole = total, video.n_frames - total
        label = float(video.label == "anomaly")
        rows["centre prior"].append((prior, *bump))
        rows["1 / frames"].append((np.array([1 / max(video.n_frames, 1)]), *whole))
        rows["perfect video label"].append((np.array([label]), *whole))
        # A normal video is 0 throughout: one row.
        rows["perfect video label x centre prior"].append(
            (prior, *bump) if label else (np.array([0.0]), *whole)
        )
    abnormal = np.array([video.label == "anomaly" for video in videos], dtype=bool)
    return [
        {"name": name, "meaning": BASELINES[name], **_baseline(parts, abnormal)}
        for name, parts in rows.items()
    ]


def _baseline(
    parts: Sequence[tuple[Floats, Floats, Floats]], abnormal: NDArray[np.bool_]
) -> dict[str, float | None]:
    if not parts:
        return {f"{name}{suffix}": None for suffix in ("", "_abnormal") for name in CURVES}
    video = np.repeat(np.arange(len(parts)), [len(part[0]) for part in parts])
    ranking = metrics.rank(video, *(np.concatenate(column) for column in zip(*parts, strict=True)))
    values: dict[str, float | None] = {}
    for suffix, subset in (("", ranking), ("_abnormal", ranking.only(abnormal))):
        counts = subset.counts()
        values |= {f"{name}{suffix}": _number(curve(*counts)) for name, curve in CURVES.items()}
    return values


def judge(
    table: Judged, names: Sequence[str], *, resamples: int, seed: int, level: float
) -> dict[str, dict[str, Any]]:
    """Some of the metrics with intervals of another level than 95 %."""
    drawn = metrics.bootstrap(table.statistics, len(table.videos), resamples, seed, level)
    without = intervals.leave_out(table.statistics, len(table.videos))
    return {name: _entry(name, drawn[name], without[name], table, level) for name in names}


def _entry(
    name: str, estimate: metrics.Estimate, without: Floats, table: Judged, level: float = 0.95
) -> dict[str, Any]:
    classes = table.videos_of_each_class(name)
    fewest = min(classes, default=0)
    low, high, kind = intervals.choose(
        estimate.value,
        without,
        (estimate.low, estimate.high),
        fewest=fewest,
        share=name.partition("[")[0] not in (*DELAYS, *PER_HOUR),
        level=level,
    )
    entry: dict[str, Any] = {
        "value": _number(estimate.value),
        "low": low,
        "high": high,
        "kind": kind,
        "n_resamples": estimate.n_resamples if kind in intervals.RESAMPLED else 0,
    }
    if entry["value"] is None:
        entry["reason"] = table.why_undefined(name)
    return entry


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _categories(entries: Mapping[str, dict[str, Any]], table: Judged) -> dict[str, Any]:
    """For each category: its videos with all normal ones, and (`auc_abnormal`) its videos alone."""
    result: dict[str, Any] = {}
    for category in table.categories:
        count = sum(
            category in video.categories and video.label == "anomaly" for video in table.videos
        )
        result[category] = {"videos": count}
        for name in (*CURVES, "auc_abnormal"):
            result[category][name] = entries[f"{name}[{category}]"]
    return result


def _normal_categories(entries: Mapping[str, dict[str, Any]], table: Judged) -> dict[str, Any]:
    """For each category of normal videos: its false alarms, and its videos with all abnormal."""
    return {
        kind: {
            "videos": int(member.sum()),
            **{name: entries[f"{name}[{NORMAL}{kind}]"] for name in ("auc", *FROM_NORMAL_VIDEOS)},
        }
        for kind, (member, _) in table.kinds_of_normal.items()
    }


def _one_video(video: Scored) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "label": video.label,
        "category": CATEGORY_SEPARATOR.join(video.categories),
        "frames": video.n_frames,
        "highest_score": float(video.scores.max()),
        "events_detected": None if video.detected is None else len(video.detected),
    }
    if video.events is None:
        return {**entry, "anomalous_frames": None, "events_annotated": None, "auc": None}
    counts = locator.frame_counts(video.bounds, video.events)
    return {
        **entry,
        "anomalous_frames": int(counts[:, 1].sum()),
        "events_annotated": len(video.events),
        "auc": video_auc(video),
    }


def video_auc(video: Scored) -> float | None:
    """ROC-AUC over the frames of one video; None without an annotation or with one class only."""
    if video.events is None:
        return None
    counts = locator.frame_counts(video.bounds, video.events)
    rows = metrics.rank(np.zeros(len(counts)), video.scores, counts[:, 1], counts[:, 0])
    return _number(metrics.auc(*rows.counts()))


def _notes(
    videos: Sequence[Scored], interval: str, tau: float | None, dataset: str
) -> Iterator[str]:
    """What one must know to read the numbers."""
    ends = "exclusive" if interval == "half-open" else "itself anomalous"
    yield f"interval convention {interval}: the end frame of an annotated event is {ends}"
    if tau is None:
        yield "no threshold tau is given: events, F1, recall and false alarms at tau are undefined"
    partly = [v.video for v in videos if v.events is None]
    if partly:
        yield (
            f"{len(partly)} abnormal videos have a label but no events, the first is {partly[0]}: "
            "they count in video_auc only"
        )
    if len(videos) < intervals.FEW_VIDEOS:
        yield (
            f"the intervals of {len(videos)} videos are wide: so few hardly show how much videos "
            f"differ; {intervals.FEW_VIDEOS} or more narrow them"
        )
    yield "best_f1 has its threshold chosen on these very videos: an upper bound"
    yield "the baselines look at no picture; what localises must beat them in the abnormal videos"
    if published.of(dataset):
        yield "published numbers are as reported by their authors; their protocols differ"


def parse_categories(text: str) -> tuple[str, ...]:
    """The categories in a sheet's column: free text, several divided by `;`."""
    return tuple(part.strip() for part in text.split(CATEGORY_SEPARATOR) if part.strip())


def events_in(
    events: Sequence[tuple[int, int]], n_frames: int, interval: str
) -> tuple[tuple[int, int], ...]:
    """Annotated frames (start, end) as [start, end) of the convention, cut at the video's end."""
    extra = int(interval == "inclusive")
    cut = ((start, min(end + extra, n_frames)) for start, end in events)
    return tuple((start, end) for start, end in cut if start < end)


def table_rows(result: Mapping[str, Any]) -> list[tuple[object, ...]]:
    """The result as rows of COLUMNS; fractions, not percent."""
    rows: list[tuple[object, ...]] = [
        _row(name, entry, MEANINGS[name]) for name, entry in result["metrics"].items()
    ]
    for name, value in (result["raw"] or {}).items():
        rows.append(
            (f"{name}_raw", value, None, None, "none", f"{MEANINGS[name]}, before smoothing")
        )
    for category, entries in result["categories"].items():
        for name in ("auc", "ap_step", "ap_trapezoid", "auc_abnormal"):
            who = "videos alone" if name == "auc_abnormal" else "videos and all normal ones"
            meaning = f"{AREAS[name.removesuffix('_abnormal')]}, frames of {category} {who}"
            rows.append(_row(f"{name}[{category}]", entries[name], meaning))
    for kind, entries in result["normal_categories"].items():
        for name in ("auc", *FROM_NORMAL_VIDEOS):
            who = "all abnormal videos and" if name == "auc" else "only"
            meaning = f"{MEANINGS[name]}; of them {who} normal videos of category {kind}"
            rows.append(_row(f"{name}[{NORMAL}{kind}]", entries[name], meaning))
    for baseline in result["baselines"]:
        for name in (*CURVES, *(f"{curve}_abnormal" for curve in CURVES)):
            meaning = f"baseline, {baseline['meaning']}: {MEANINGS[name]}"
            rows.append(
                (f"{name} of {baseline['name']}", baseline[name], None, None, "none", meaning)
            )
    for row in result["published"]:
        note = f" ({row['note']})" if row["note"] else ""
        name = f"{row['metric']} of {row['method']}"
        rows.append((name, row["value"] / 100, None, None, "none", f"{row['source']}{note}"))
    return rows


def _row(name: str, entry: Mapping[str, Any], meaning: str) -> tuple[object, ...]:
    if entry["value"] is None:
        meaning = f"{meaning}; undefined: {entry['reason']}"
    return name, *(entry[key] for key in ("value", "low", "high", "kind")), meaning


def text_table(result: Mapping[str, Any]) -> str:
    """The result for a terminal: ours, the baselines and the published numbers, in percent."""
    videos, frames = result["videos"], result["frames"]
    lines = [
        f"{videos['annotated']} annotated videos ({videos['normal']} normal, {videos['anomaly']} "
        f"abnormal), {frames['scored']} scored frames, {frames['anomalous']} anomalous; "
        f"{result['interval']} intervals",
        *(f"left out, {reason}: {entry['count']} ({_some(entry['names'])})"
          for reason, entry in result["left_out"].items()),
        "",
    ]  # fmt: skip
    rows: list[Sequence[str]] = [("", "value", "95 % interval", "kind", "")]
    for name, entry in result["metrics"].items():
        meaning = entry.get("reason", MEANINGS[name])
        rows.append(
            (name, _shown(name, entry["value"]), _span(name, entry), entry["kind"], meaning)
        )
    for category, entries in result["categories"].items():
        entry = entries["auc"]
        who = f"{category} ({entries['videos']} videos) and all normal videos"
        shown = _shown("auc", entry["value"]), _span("auc", entry), entry["kind"]
        rows.append((f"auc[{category}]", *shown, who))
    lines += _aligned(rows)
    rows = [("baselines", "AUC", "AP step", "AP trapezoid", "AUC abnormal only")]
    for row in (*result["baselines"], {"name": "these scores", **_values(result)}):
        names = ("auc", "ap_step", "ap_trapezoid", "auc_abnormal")
        rows.append((row["name"], *(_shown(name, row[name]) for name in names)))
    lines += ["", *_aligned(rows)]
    if result["published"]:
        rows = [(f"published, {published.REPORTED}", result["published"][0]["metric"], "")]
        rows += [(r["method"], f"{r['value']:.2f}", r["note"]) for r in result["published"]]
        lines += ["", *_aligned(rows)]
    return "\n".join([*lines, "", *(f"note: {note}" for note in result["notes"])])


def _values(result: Mapping[str, Any]) -> dict[str, Any]:
    return {name: entry["value"] for name, entry in result["metrics"].items()}


def _shown(name: str, value: float | None) -> str:
    if value is None:
        return "undefined"
    return f"{value:.2f}" if name in (*DELAYS, *PER_HOUR) else f"{100 * value:.2f}"


def _span(name: str, entry: Mapping[str, Any]) -> str:
    if entry["low"] is None:
        return ""
    return f"{_shown(name, entry['low'])} - {_shown(name, entry['high'])}"


def _some(names: Sequence[str], most: int = 5) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """The rows as columns; the second and third hold numbers."""
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    for column in range(len(rows[0])):
        table.add_column(justify="right" if column in (1, 2) else "left", no_wrap=True)
    for row in rows:
        table.add_row(*map(Text, row))
    console = Console(file=io.StringIO(), width=1000, color_system=None)
    with console.capture() as capture:
        console.print(table)
    return [line.rstrip() for line in capture.get().splitlines()]
