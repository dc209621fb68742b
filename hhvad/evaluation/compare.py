"""Several methods on the same videos: every metric side by side, and what tells two of them apart.

The difference of two methods has an interval of its own (`intervals.paired_difference`), since
both are judged on the same videos. With several methods there are many pairs, and one of them soon
differs by chance: `low_corrected` and `high_corrected` are Bonferroni's, which hold for all pairs
of a metric at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from hhvad.errors import ArtifactError
from hhvad.evaluation import evaluate, intervals, metrics, tables
from hhvad.evaluation.curves import points
from hhvad.evaluation.metrics import Floats

# What a table of methods shows; of these, shares are also compared pair by pair.
HEADLINE = (
    *("auc", "ap_step", "ap_trapezoid", "auc_abnormal", "video_auc", "latency_ap", "event_map"),
    *("f1_at_tau", "event_recall", "false_alarms_per_hour", "detection_delay_seconds"),
)
SHARES = tuple(name for name in HEADLINE if name not in (*evaluate.DELAYS, *evaluate.PER_HOUR))
SHORT = {
    "auc": "AUC",
    "ap_step": "AP (step)",
    "ap_trapezoid": "AP (trapezoid)",
    "auc_abnormal": "AUC, abnormal videos",
    "video_auc": "AUC of videos",
    "latency_ap": "latency-aware AP",
    "event_map": "mAP of events",
    "f1_at_tau": "F1 at tau",
    "event_recall": "events found",
    "false_alarms_per_hour": "false alarms per hour",
    "detection_delay_seconds": "delay, s",
}
COLUMNS = (
    *("kind", "method", "other", "metric", "value", "low", "high"),
    *("low_corrected", "high_corrected", "note"),
)
CORRECTION = (
    "low and high are of 95 % for one pair; low_corrected and high_corrected are Bonferroni's, "
    "so that all pairs of a metric hold together with at least 95 %"
)


@dataclass(frozen=True)
class Method:
    """A method, its videos with their scores, and its metrics as `evaluate.evaluate` gave them."""

    name: str
    videos: Sequence[evaluate.Scored]
    result: Mapping[str, Any]


def compare(methods: Sequence[Method], *, resamples: int, seed: int) -> dict[str, Any]:
    """All methods side by side: metrics, paired differences, baselines, published numbers, videos.

    Raises ArtifactError where the methods have not scored the same videos.
    """
    first = methods[0]
    names = [video.video for video in first.videos]
    for method in methods[1:]:
        if [video.video for video in method.videos] != names:
            raise ArtifactError(
                f"methods {first.name} and {method.name} have not scored the same videos; rerun"
            )
    return {
        "dataset": first.result["dataset"],
        "interval": first.result["interval"],
        "videos": first.result["videos"],
        "metrics": list(HEADLINE),
        "meanings": {name: evaluate.MEANINGS[name] for name in HEADLINE},
        "methods": [
            {
                "name": method.name,
                "tau": method.result["tau"],
                "metrics": {name: method.result["metrics"][name] for name in HEADLINE},
            }
            for method in methods
        ],
        "correction": CORRECTION,
        "differences": list(_differences(methods, resamples, seed)),
        "baselines": first.result["baselines"],
        "published": first.result["published"],
        "per_video": {
            name: {
                "label": first.videos[i].label,
                "methods": {m.name: _of_video(m.videos[i], m.result["tau"]) for m in methods},
            }
            for i, name in enumerate(names)
        },
    }


def _differences(methods: Sequence[Method], resamples: int, seed: int) -> Iterator[dict[str, Any]]:
    """The paired difference of each two methods, metric by metric."""
    pairs = list(combinations(range(len(methods)), 2))
    if not pairs:
        return
    judged = [evaluate.Judged(method.videos, method.result["tau"]) for method in methods]
    without = [intervals.leave_out(table.statistics, len(table.videos)) for table in judged]
    strict = [
        _strict(table, method.result["metrics"], 1 - 0.05 / len(pairs), resamples, seed)
        for table, method in zip(judged, methods, strict=True)
    ]
    for name in SHARES:
        for i, j in pairs:
            one, other = (methods[at].result["metrics"][name] for at in (i, j))
            known = one["value"] is not None and other["value"] is not None
            entry: dict[str, Any] = {
                "metric": name,
                "a": methods[i].name,
                "b": methods[j].name,
                "difference": one["value"] - other["value"] if known else None,
            }
            for suffix, first, second in (
                ("", one, other),
                ("_corrected", strict[i][name], strict[j][name]),
            ):
                ends = _paired(first, second, without[i][name], without[j][name])
                low, high = ends or (None, None)
                entry |= {f"low{suffix}": low, f"high{suffix}": high}
            low, high = entry["low_corrected"], entry["high_corrected"]
            entry["told_apart"] = None if low is None else bool(low > 0 or high < 0)
            yield entry


def _strict(
    table: evaluate.Judged,
    entries: Mapping[str, Mapping[str, Any]],
    level: float,
    resamples: int,
    seed: int,
) -> dict[str, dict[str, Any]]:
    """The intervals of another level; resampled only where the jackknife does not give them."""
    needed = any(entries[name]["kind"] in intervals.RESAMPLED for name in SHARES)
    return evaluate.judge(
        table, SHARES, resamples=resamples if needed else 0, seed=seed, level=level
    )


def _paired(
    one: Mapping[str, Any], other: Mapping[str, Any], without_one: Floats, without_other: Floats
) -> tuple[float, float] | None:
    """The interval of a difference; None where a method has none, or nothing tells them apart."""
    if one["low"] is None or other["low"] is None:
        return None
    if not (np.isfinite(without_one).all() and np.isfinite(without_other).all()):
        return None
    return intervals.paired_difference(
        one["value"],
        other["value"],
        (one["low"], one["high"]),
        (other["low"], other["high"]),
        without_one,
        without_other,
    )


def _of_video(video: evaluate.Scored, tau: float | None) -> dict[str, float | None]:
    """AUC inside a video, None where it has one class only, and its share of frames above tau."""
    frames = np.diff(video.bounds, axis=1)[:, 0]
    above = None
    if tau is not None:
        above = metrics.ratio(float(frames @ (video.scores > tau)), float(frames.sum()))
    return {"auc": evaluate.video_auc(video), "above_tau": above}


def curves(method: Method) -> dict[str, tuple[Floats, Floats]]:
    """The points of a method's ROC and of its precision-recall curve: x and y [G + 1] of each."""
    return points(evaluate.Judged(method.videos, None).frames)


def table_rows(result: Mapping[str, Any]) -> list[tuple[object, ...]]:
    """The comparison as rows of COLUMNS; fractions, not percent."""
    rows: list[tuple[object, ...]] = []
    for method in result["methods"]:
        for name, entry in method["metrics"].items():
            note = entry.get("reason") or entry["kind"]
            ends = entry["low"], entry["high"]
            rows.append(
                ("method", method["name"], "", name, entry["value"], *ends, None, None, note)
            )
    for one in result["differences"]:
        four = (one[key] for key in ("low", "high", "low_corrected", "high_corrected"))
        rows.append(
            (
                "difference",
                one["a"],
                one["b"],
                one["metric"],
                one["difference"],
                *four,
                _verdict(one),
            )
        )
    for baseline in result["baselines"]:
        for name in HEADLINE:
            if name in baseline:
                value = baseline[name]
                note = baseline["meaning"]
                empty = (None,) * 4
                rows.append(("baseline", baseline["name"], "", name, value, *empty, note))
    for row in result["published"]:
        note = f"{row['source']} {row['note']}".strip()
        value = row["value"] / 100
        rows.append(
            ("published", row["method"], "", row["metric"], value, None, None, None, None, note)
        )
    return rows


def _verdict(one: Mapping[str, Any]) -> str:
    """Whether the videos tell two methods apart, in words."""
    if one["told_apart"] is None:
        return "no interval"
    if not one["told_apart"]:
        return "not told apart"
    return f"{one['a'] if one['difference'] > 0 else one['b']} is higher"


def _cells(result: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """A head and a row for each method, baseline and published number; shares in percent."""
    head = ["", *(SHORT[name] for name in HEADLINE)]
    rows = [
        [one["name"], *(_cell(name, one["metrics"][name]) for name in HEADLINE)]
        for one in result["methods"]
    ]
    for baseline in result["baselines"]:
        values = [_cell(name, {"value": baseline.get(name), "low": None}) for name in HEADLINE]
        rows.append([f"baseline: {baseline['name']}", *values])
    for row in result["published"]:
        column = {"AUC": "auc", "AP": "ap_trapezoid" if row["note"] == "trapezoid" else "ap_step"}
        at = column[row["metric"]]
        values = [f"{row['value']:.2f}" if name == at else "" for name in HEADLINE]
        rows.append([f"published: {row['method']}", *values])
    return head, rows


def _cell(name: str, entry: Mapping[str, Any]) -> str:
    if entry["value"] is None:
        return ""
    scale, digits = (100, 2) if name in SHARES else (1, 2)
    text = f"{scale * entry['value']:.{digits}f}"
    if entry["low"] is None:
        return text
    return f"{text} [{scale * entry['low']:.1f}, {scale * entry['high']:.1f}]"


def _pairs(result: Mapping[str, Any]) -> list[list[str]]:
    """A row for each difference, in points of percent, with the corrected interval."""
    return [
        [
            SHORT[one["metric"]],
            f"{one['a']} - {one['b']}",
            "" if one["difference"] is None else f"{100 * one['difference']:+.2f}",
            ""
            if one["low_corrected"] is None
            else f"[{100 * one['low_corrected']:+.1f}, {100 * one['high_corrected']:+.1f}]",
            _verdict(one),
        ]
        for one in result["differences"]
    ]


NOTE = (
    "Shares in percent with 95 % intervals over videos. The AP of published numbers is the "
    "step-wise one or of a kind that their authors do not name, unless it stands under the "
    "trapezoid. Differences are in points of percent, with intervals that hold for all pairs of a "
    "metric together."
)
PAIR_HEAD = ["metric", "methods", "difference", "interval", ""]


def markdown(result: Mapping[str, Any]) -> str:
    """The comparison as Markdown: a table of methods and one of differences."""
    head, rows = _cells(result)
    pairs = tables.markdown(PAIR_HEAD, _pairs(result))
    return "\n".join([*tables.markdown(head, rows), "", *pairs, "", NOTE, ""])


def latex(result: Mapping[str, Any]) -> str:
    """The comparison as LaTeX: two tabulars with the rules of the package booktabs."""
    head, rows = _cells(result)
    lines = tables.latex(head, rows, "l" + "r" * len(HEADLINE))
    if result["differences"]:
        lines += ["", *tables.latex(PAIR_HEAD, _pairs(result), "llrrl")]
    return "\n".join([f"% {NOTE}", "% Needs \\usepackage{booktabs}.", *lines, ""])
