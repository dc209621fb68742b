"""Metrics: small cases by hand, frames expanded one by one, and scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import auc as area
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score

from hhvad.errors import DataError
from hhvad.evaluation import metrics

quick = settings(max_examples=40, deadline=None, derandomize=True)


def rows(scores, positive, negative, video=None):
    return metrics.rank(
        np.zeros(len(scores)) if video is None else video, scores, positive, negative
    )


def test_by_hand():
    ranking = rows([0.9, 0.8, 0.7, 0.6], [1, 0, 1, 0], [0, 1, 0, 1])
    counts = ranking.counts()
    assert metrics.auc(*counts) == 3 / 4
    assert metrics.ap_step(*counts) == pytest.approx((1 + 2 / 3) / 2, abs=1e-15)
    # (0, 1) -> (1/2, 1) -> (1/2, 1/2) -> (1, 2/3)
    assert metrics.ap_trapezoid(*counts) == pytest.approx(1 / 2 + (1 / 2 + 2 / 3) / 4, abs=1e-15)
    f1, at = metrics.best_f1(*counts)
    assert f1 == pytest.approx(4 / 5)
    assert ranking.scores[at] == 0.7


def test_equal_scores_are_one_threshold():
    counts = rows([0.5, 0.5, 0.5], [3, 0, 1], [1, 4, 0]).counts()
    assert [one.tolist() for one in counts] == [[4], [5]]
    assert metrics.auc(*counts) == 0.5
    assert metrics.ap_step(*counts) == pytest.approx(4 / 9)
    assert metrics.ap_trapezoid(*counts) == pytest.approx((1 + 4 / 9) / 2)  # it flatters


@pytest.mark.parametrize(("positive", "negative"), [([2, 3], [0, 0]), ([0, 0], [1, 1]), ([], [])])
def test_one_class_is_nan(positive, negative):
    counts = rows([0.1, 0.2][: len(positive)], positive, negative).counts()
    for curve in (metrics.auc, metrics.ap_step, metrics.ap_trapezoid):
        assert math.isnan(curve(*counts))
    assert math.isnan(metrics.best_f1(*counts)[0])


def test_nan_scores_are_refused():
    with pytest.raises(DataError, match="score 1 is not finite"):
        rows([0.1, math.nan], [1, 0], [0, 1])


@st.composite
def scored_videos(draw):
    """Segments of up to five videos with few distinct scores, and weights of the videos."""
    n_videos = draw(st.integers(1, 5))
    segments = draw(
        st.lists(
            st.tuples(
                st.integers(0, n_videos - 1),
                st.integers(0, 9).map(lambda k: k / 9),
                st.integers(0, 5),
                st.integers(0, 5),
            ),
            min_size=1,
            max_size=25,
        )
    )
    weights = draw(st.lists(st.integers(0, 3), min_size=n_videos, max_size=n_videos))
    return segments, weights


def expand(segments, weights):
    labels, scores = [], []
    for video, score, positive, negative in segments:
        labels += ([1] * positive + [0] * negative) * weights[video]
        scores += [score] * (positive + negative) * weights[video]
    return np.array(labels), np.array(scores)


@quick
@given(scored_videos())
def test_as_expanded_frames(data):
    segments, weights = data
    labels, scores = expand(segments, weights)
    video, values, positive, negative = zip(*segments, strict=True)
    counts = rows(values, positive, negative, video).counts(np.array(weights, dtype=float))
    if len(set(labels.tolist())) < 2:
        assert math.isnan(metrics.auc(*counts))
        return
    precision, recall, _ = precision_recall_curve(labels, scores)
    called = [scores >= threshold for threshold in np.unique(scores)]
    f1 = max(2 * (labels & c).sum() / (labels.sum() + c.sum()) for c in called)
    expected = {
        metrics.auc: roc_auc_score(labels, scores),
        metrics.ap_step: average_precision_score(labels, scores),
        metrics.ap_trapezoid: area(recall, precision),
        lambda *both: metrics.best_f1(*both)[0]: f1,
    }
    for curve, value in expected.items():
        assert curve(*counts) == pytest.approx(value, abs=1e-12)


def test_the_highest_score_is_one_normal_frame() -> None:
    # Precision 0, then 1/2 at recall 1; the curve starts at (0, 1).
    counts = np.array([0.0, 1.0]), np.array([1.0, 1.0])
    assert metrics.ap_trapezoid(*counts) == 0.25
    assert metrics.ap_step(*counts) == 0.5


@quick
@given(scored_videos(), st.integers(0, 31))
def test_some_videos_only(data, mask):
    segments, weights = data
    kept = np.array([bool(mask >> i & 1) for i in range(len(weights))])
    video, values, positive, negative = zip(*segments, strict=True)
    some = rows(values, positive, negative, video).only(kept).counts()
    alone = [row for row in segments if kept[row[0]]]
    if not alone:
        assert not len(some[0])
        return
    video, values, positive, negative = zip(*alone, strict=True)
    for ours, expected in zip(some, rows(values, positive, negative, video).counts(), strict=True):
        np.testing.assert_array_equal(ours, expected)


def activitynet_ap(detected, annotated, iou):
    """Average precision as in ActivityNet's evaluation, written out for distinct scores."""
    flat = sorted(((s, v, a, b) for v, ev in enumerate(detected) for a, b, s in ev), reverse=True)
    free = {(v, i) for v, truth in enumerate(annotated) for i in range(len(truth))}
    total, tp, points = len(free), 0, [(0.0, 1.0)]
    for rank, (_, video, start, end) in enumerate(flat, start=1):
        overlap = {}
        for v, i in free:
            if v == video:
                s, e = annotated[v][i]
                shared = max(0, min(end, e) - max(start, s))
                overlap[v, i] = shared / ((end - start) + (e - s) - shared)
        best = max(overlap, key=lambda k: overlap[k], default=None)
        if best is not None and overlap[best] >= iou:
            free.remove(best)
            tp += 1
        points.append((tp / total, tp / rank))
    return sum(
        (points[k][0] - points[k - 1][0]) * max(p for r, p in points[k:])
        for k in range(1, len(points))
    )


def test_event_ap_by_hand():
    annotated = [[(0, 10), (20, 30)], [], [(5, 15)]]
    detected = [[(0, 10, 0.9), (0, 9, 0.8), (22, 30, 0.5)], [(0, 4, 0.7)], []]
    matches = metrics.match_events(detected, annotated, ious=(0.5, 0.9))
    # By score: hit, double, false, hit (IoU 0.8): precision 1 and 2/4 at recall 1/3 and 2/3.
    assert metrics.event_ap(matches).tolist() == pytest.approx([1 / 3 + 1 / 6, 1 / 3])


def test_event_ap_as_activitynet():
    generator = np.random.default_rng(3)
    annotated, detected = [], []
    for _ in range(12):
        starts = np.sort(generator.choice(40, 6, replace=False)) * 5
        lengths = generator.integers(2, 5, 6)
        truth = [(int(s), int(s + n)) for s, n in zip(starts, lengths, strict=True)]
        annotated.append(truth[: generator.integers(0, 4)])
        moved = [(max(0, s + int(generator.integers(-2, 3))), e + 1) for s, e in truth]
        detected.append([(s, e, float(generator.random())) for s, e in moved])
    ours = metrics.event_ap(metrics.match_events(detected, annotated))
    expected = [activitynet_ap(detected, annotated, iou) for iou in metrics.IOUS]
    assert ours.tolist() == pytest.approx(expected, abs=1e-12)
    assert 0 < ours[-1] < ours[0] < 1


def test_event_ap_of_weighted_videos_is_that_of_copies():
    annotated = [[(0, 10)], [(3, 8)], []]
    detected = [[(0, 9, 0.9)], [(0, 4, 0.8)], [(1, 2, 0.85)]]
    weights = np.array([2.0, 1.0, 3.0])
    again = [v for v, w in enumerate(weights) for _ in range(int(w))]
    copies = metrics.match_events([detected[v] for v in again], [annotated[v] for v in again])
    ours = metrics.event_ap(metrics.match_events(detected, annotated), weights)
    assert ours.tolist() == pytest.approx(metrics.event_ap(copies).tolist(), abs=1e-12)


def test_event_ap_without_events():
    assert metrics.event_ap(metrics.match_events([[]], [[(0, 5)]])).tolist() == [0.0] * 7
    assert np.isnan(metrics.event_ap(metrics.match_events([[(0, 5, 1.0)]], [[]]))).all()


def test_first_alarms():
    bounds = np.array([[0, 10], [10, 20], [20, 30], [30, 40]])
    above = np.array([False, True, False, True])
    events = [(5, 15), (12, 18), (20, 30), (25, 40), (0, 10)]
    assert metrics.first_alarms(bounds, above, events) == [5, 0, None, 5, None]


@quick
@given(st.lists(st.booleans(), min_size=1, max_size=12), st.integers(0, 30), st.integers(1, 20))
def test_first_alarms_frame_by_frame(above, start, length):
    bounds = np.array([[3 * i, 3 * i + 3] for i in range(len(above))])
    alarmed = [t for t in range(start, start + length) if t < 3 * len(above) and above[t // 3]]
    expected = alarmed[0] - start if alarmed else None
    found = metrics.first_alarms(bounds, np.array(above), [(start, start + length)])
    assert found == [expected]


def test_bootstrap():
    values = np.array([1.0, 2.0, 3.0, 4.0])
    drawn = []

    def mean(weights):
        drawn.append(weights)
        return {"mean": float(weights @ values / weights.sum()), "odd": math.nan, "one": 1.0}

    estimates = metrics.bootstrap(mean, 4, 200, seed=7)
    assert all(weights.sum() == 4 and len(weights) == 4 for weights in drawn)
    assert len({tuple(weights) for weights in drawn}) > 20
    resampled = [weights @ values / 4 for weights in drawn[1:]]
    expected = np.percentile(resampled, (2.5, 97.5))
    assert estimates["mean"] == pytest.approx((2.5, *expected, 200))
    assert estimates["odd"].n_resamples == 0
    assert math.isnan(estimates["odd"].low)
    assert estimates["one"] == (1.0, 1.0, 1.0, 200)
    assert metrics.bootstrap(mean, 4, 200, seed=7)["mean"] == estimates["mean"]
    assert metrics.bootstrap(mean, 4, 200, seed=8)["mean"] != estimates["mean"]
    assert metrics.bootstrap(mean, 4, 0, seed=7)["mean"].n_resamples == 0


@pytest.mark.parametrize("n", [1, 2, 3, 10, 11])
def test_centre_prior(n):
    prior, distance = metrics.centre_prior(n)
    half = max(n // 2, 1)
    expected = [math.exp(-0.5 * ((t - n // 2) / half) ** 2) for t in range(n)]
    assert prior[distance].tolist() == pytest.approx(expected, abs=1e-15)
