"""False alarms per hour, latency-aware AP and delays, against counts by hand."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hhvad.evaluation import alarms, evaluate
from hhvad.media.time import FrameTimes

FPS = 10


def make(name, label, scores, events=(), categories=(), times=True, length=10):
    starts = np.arange(len(scores)) * length
    n_frames = len(scores) * length
    return evaluate.Scored(
        name,
        label,
        categories,
        n_frames,
        events,
        np.stack([starts, starts + length], axis=1),
        np.array(scores, dtype=np.float64),
        times=FrameTimes(n_frames, Fraction(FPS)) if times else None,
    )


VIDEOS = [
    # 5 s each of normal video: at 0.5 two alarms, then one.
    make("quiet", "normal", [0.1, 0.6, 0.7, 0.2, 0.9], categories=("rain",)),
    make("crowd", "normal", [0.6, 0.6, 0.6, 0.1, 0.1], categories=("crowd",)),
    make("a", "anomaly", [0.1, 0.2, 0.8, 0.9, 0.1], ((10, 40),), ("fall",)),
    make("b", "anomaly", [0.3, 0.3, 0.3, 0.1, 0.1], ((0, 20),), ("fall",)),
]


def test_false_alarms_per_hour_by_hand():
    found = evaluate.evaluate(VIDEOS, tau=0.5, resamples=20)
    values = {name: entry["value"] for name, entry in found["metrics"].items()}
    assert values["false_alarms_per_hour"] == pytest.approx(3 / (10 / 3600))
    # 80 % of two events are both: the threshold is 0.3, where the runs are still three.
    assert values["false_alarms_per_hour_at_recall"] == pytest.approx(3 / (10 / 3600))
    rain, crowd = (found["normal_categories"][name] for name in ("rain", "crowd"))
    assert rain["false_alarms_per_hour"]["value"] == pytest.approx(2 / (5 / 3600))
    assert crowd["false_alarms_per_hour"]["value"] == pytest.approx(1 / (5 / 3600))
    assert crowd["false_alarm_rate_normal_videos"]["value"] == pytest.approx(0.6)
    assert (rain["videos"], crowd["videos"]) == (1, 1)


def test_delays_are_listed():
    delays = evaluate.evaluate(VIDEOS, tau=0.5, resamples=0)["delays"]
    assert (delays["found"], delays["missed"]) == (1, 1)
    assert [one["delay_seconds"] for one in delays["events"]] == [1.0, None]
    assert delays["seconds_at"]["0.5"] == 1.0
    assert evaluate.evaluate(VIDEOS, resamples=0)["delays"] is None


def test_latency_ap_by_hand():
    videos = [make("n", "normal", [0.5, 0.1]), make("a", "anomaly", [0.2, 0.9, 0.9], ((0, 30),))]
    # At 0.9 the event is found with 2/3 of it left, precision 1. At 0.2 from its start: the last
    # third is gained where 30 of 40 called frames are anomalous.
    value = evaluate.evaluate(videos, resamples=0)["metrics"]["latency_ap"]["value"]
    assert value == pytest.approx(2 / 3 * 1 + 1 / 3 * 30 / 40)


def test_unknown_frame_rates_leave_hours_undefined():
    videos = [make("n", "normal", [0.5], times=False), *VIDEOS[2:]]
    entry = evaluate.evaluate(videos, tau=0.5, resamples=0)["metrics"]["false_alarms_per_hour"]
    assert entry["value"] is None
    assert entry["reason"] == "frame rates are not given"


def test_only_abnormal_videos():
    found = evaluate.evaluate(VIDEOS[2:], tau=0.5, resamples=0)["metrics"]
    assert found["false_alarms_per_hour"]["reason"] == "there is no normal video"


@given(st.lists(st.integers(0, 9), min_size=1, max_size=30), st.integers(0, 9))
def test_alarms_are_runs(scores, tau):
    values = np.array(scores) / 10
    starts = np.arange(len(scores))
    bounds = np.stack([starts, starts + 1], axis=1)
    table = alarms.table([bounds], [values], [()], np.array([True]), [1.0])
    above = "".join("x" if score > tau else " " for score in scores)
    assert table.per_hour(np.ones(1), tau / 10) == len(above.split())


@given(st.lists(st.integers(0, 9), min_size=3, max_size=20), st.integers(0, 2))
def test_latency_ap_is_a_sum_over_thresholds(scores, first):
    """Against the definition: for each threshold the first alarm is looked for anew."""
    start, end = first * 10, len(scores) * 10
    videos = [
        make("n", "normal", [0.35, 0.75]),
        make("a", "anomaly", np.array(scores) / 10, ((start, end),)),
    ]
    value = evaluate.evaluate(videos, resamples=0)["metrics"]["latency_ap"]["value"]
    expected, before = 0.0, 0.0
    abnormal = np.array(scores) / 10
    for threshold in sorted({0.35, 0.75, *abnormal.tolist()}, reverse=True):
        at = [i for i in range(first, len(scores)) if abnormal[i] >= threshold]
        share = (end - max(start, at[0] * 10)) / (end - start) if at else 0.0
        normal = 10 * (
            (abnormal[:first] >= threshold).sum() + (np.array([0.35, 0.75]) >= threshold).sum()
        )
        hit = 10 * len(at)
        expected += (share - before) * (hit / (hit + normal) if hit + normal else 1.0)
        before = share
    assert value == pytest.approx(expected, abs=1e-12)
