"""Smoothing, calibration and events against straightforward loops and the official vectors."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score, roc_auc_score

from hhvad.errors import DataError
from hhvad.localization import locator
from hhvad.records import Event

CHECKED = settings(deadline=None, max_examples=60, derandomize=True)
SCORES = st.lists(st.floats(0, 1), min_size=1, max_size=40)


def by_hand(scores, sigma, border):
    """Smoothing by the definition: each output a weighted sum over neighbours that exist."""
    t = len(scores)
    if t <= 1:
        return np.array(scores, dtype=float)
    size = min(int(6 * sigma) + 1, t)
    size = max(size + 1 - size % 2, 3)
    half = size // 2
    weight = np.exp(-(np.arange(-half, half + 1) ** 2) / (2 * sigma**2))
    weight /= weight.sum()
    smoothed = []
    for i in range(t):
        inside = [(weight[k + half], scores[i - k]) for k in range(-half, half + 1)
                  if 0 <= i - k < t]  # fmt: skip
        total = sum(w * s for w, s in inside)
        smoothed.append(total / sum(w for w, _ in inside) if border == "renormalise" else total)
    return np.array(smoothed)


def vectors_of(shared, name):
    vectors = np.load(shared / "parity" / f"{name}.npz", allow_pickle=False)
    cuts = np.cumsum(vectors["locator_lengths"])[:-1]
    scores, labels = (np.split(vectors[f"locator_{key}"], cuts) for key in ("scores", "labels"))
    return vectors, scores, labels


@pytest.mark.parametrize(
    ("name", "once", "twice"),
    [("dev_small", 0.995430, 0.994386), ("dev_singular", 0.997127, 0.996114)],
)
def test_the_official_evaluator_smooths_twice(shared, name, once, twice):
    """AUCs of the vectors as scikit-learn gives them, zero-padded, sigma 1.5."""
    _, scores, labels = vectors_of(shared, name)
    segments = [np.stack([np.arange(len(one)), np.arange(len(one)) + 1], 1) for one in scores]
    for passes, auc in ((1, once), (2, twice)):
        official = locator.Locator(1.5, 0.65, "zero", passes=passes, tail="drop")
        smoothed = [official.smooth(*one) for one in zip(scores, segments, strict=True)]
        measured = [official.measured(*one) for one in zip(smoothed, segments, strict=True)]
        found = roc_auc_score(np.concatenate(labels), np.concatenate(measured))
        assert found == pytest.approx(auc, abs=1e-6)


def test_a_dropped_tail_takes_no_part():
    segments = np.array([[0, 48], [48, 96], [96, 100]])
    scores = np.array([0.2, 0.9, 0.9])
    kept, dropped = (
        locator.Locator(1.0, 0.4, "zero", passes=2, tail=tail) for tail in ("keep", "drop")
    )
    assert (kept.judged(segments), dropped.judged(segments)) == (3, 2)
    once = dropped.smooth(scores, segments)
    assert once.tolist() == [*locator.smooth(scores[:2], 1.0, "zero"), 0.0]
    assert dropped.measured(once, segments).tolist() == (
        locator.smooth(locator.smooth(scores[:2], 1.0, "zero"), 1.0, "zero").tolist()
    )
    assert [(e.start, e.end) for e in kept.events(scores, segments)] == [(48, 100)]
    assert [(e.start, e.end) for e in dropped.events(scores, segments)] == [(48, 96)]


@pytest.mark.parametrize("segments", [[[0, 10]], [[0, 48], [48, 96]], [[0, 10], [10, 30]]])
def test_what_is_no_tail_is_kept(segments):
    """A single segment, a full one, a longer one."""
    assert locator.Locator(1.0, 0.5, tail="drop").judged(segments) == len(segments)


@pytest.mark.parametrize("border", locator.BORDERS)
def test_a_single_score_stays_as_it_is(border):
    assert locator.smooth([0.7], 1.5, border).tolist() == [0.7]


@pytest.mark.parametrize("change", [{"passes": 0}, {"passes": 1.0}, {"tail": "cut"}])
def test_locators_that_make_no_sense(change):
    with pytest.raises(DataError, match=next(iter(change))):
        locator.Locator(1.0, 0.5, **change)


@pytest.mark.parametrize("name", ["dev_small", "dev_singular"])
def test_official_vectors(shared, name):
    vectors, scores, labels = vectors_of(shared, name)
    smoothed = np.concatenate([locator.smooth(one, 1.5, "zero") for one in scores])
    official = vectors["locator_smoothed_zero_padded"]
    np.testing.assert_allclose(smoothed, official, rtol=0, atol=1e-12)
    paper = locator.THRESHOLDS
    found = locator.calibrate(scores, labels, thresholds=paper, border="zero")
    exact = locator.calibrate(scores, labels, border="zero")
    assert exact.f1 >= found.f1
    assert found.sigma == vectors["locator_sigma"]
    assert found.tau == vectors["locator_tau"]


@CHECKED
@given(SCORES, st.floats(0.2, 5), st.sampled_from(locator.BORDERS))
def test_smoothing_by_definition(scores, sigma, border):
    ours = locator.smooth(scores, sigma, border)
    assert len(ours) == len(scores)
    np.testing.assert_allclose(ours, by_hand(scores, sigma, border), rtol=0, atol=1e-12)


@CHECKED
@given(SCORES, st.floats(0.2, 5))
def test_smoothing_keeps_within_the_scores(scores, sigma):
    """Renormalised at the borders, a constant stays and no value leaves the range."""
    smoothed = locator.smooth(scores, sigma)
    assert smoothed.min() >= min(scores) - 1e-12
    assert smoothed.max() <= max(scores) + 1e-12
    np.testing.assert_allclose(locator.smooth([0.7] * len(scores), sigma), 0.7)
    backwards = locator.smooth(scores[::-1], sigma)[::-1]
    np.testing.assert_allclose(smoothed, backwards, rtol=0, atol=1e-12)


def test_smoothing_does_not_change_its_input():
    scores = np.array([0.25])
    smoothed = locator.smooth(scores, 1.0)
    smoothed[0] = 9
    assert scores[0] == 0.25
    scores = np.array([0.1, 0.9, 0.2])
    locator.smooth(scores, 1.0)
    assert scores.tolist() == [0.1, 0.9, 0.2]
    assert locator.smooth([], 1.0).shape == (0,)


@pytest.mark.parametrize(
    ("scores", "sigma", "border", "message"),
    [
        ([0.1, np.nan], 1, "zero", "score 1"),
        ([0.1, np.inf], 1, "zero", "score 1"),
        ([[0.1]], 1, "zero", "shape"),
        ([0.1], 0, "zero", "sigma"),
        ([0.1], np.nan, "zero", "sigma"),
        ([0.1], 1, "reflect", "border"),
    ],
)
def test_bad_smoothing(scores, sigma, border, message):
    with pytest.raises(DataError, match=message):
        locator.smooth(scores, sigma, border)


def naive(scores, labels, sigmas, thresholds, border, weights=None):
    """The grid search as a loop over scikit-learn's F1; the first best wins."""
    best = None
    for sigma in sigmas:
        smoothed = np.concatenate([locator.smooth(one, sigma, border) for one in scores])
        for tau in thresholds:
            f1 = f1_score(
                np.concatenate(labels),
                (smoothed > tau).astype(int),
                sample_weight=None if weights is None else np.concatenate(weights),
                zero_division=0,
            )
            if best is None or f1 > best[2]:
                best = (sigma, tau, f1)
    return best


def videos(seed, count=4):
    random = np.random.default_rng(seed)
    scores = [np.round(random.uniform(size=random.integers(1, 30)), 2) for _ in range(count)]
    labels = [(random.uniform(size=len(one)) < one).astype(int) for one in scores]
    labels[0][0] = 1
    scores[0][0] = 0.97
    return scores, labels


@CHECKED
@given(st.integers(0, 2**32 - 1), st.sampled_from(locator.BORDERS))
def test_calibration_is_the_grid_search(seed, border):
    scores, labels = videos(seed)
    sigmas, thresholds = [0.1, 0.5, 1.25], np.linspace(0.1, 0.9, 17)
    found = locator.calibrate(scores, labels, sigmas=sigmas, thresholds=thresholds, border=border)
    assert tuple(found) == naive(scores, labels, sigmas, thresholds, border)


@CHECKED
@given(st.integers(0, 2**32 - 1), st.floats(1e-3, 1e3))
def test_exact_calibration_is_the_best_of_all_distinct_smoothed_scores(seed, scale):
    scores, labels = videos(seed)
    scores = [one * scale for one in scores]
    sigmas, best = [0.1, 0.5, 1.25], 0.0
    for sigma in sigmas:
        smoothed = np.concatenate([locator.smooth(one, sigma) for one in scores])
        taus = [smoothed.min() - 1, *np.unique(smoothed)]
        best = max(best, naive(scores, labels, [sigma], taus, "renormalise")[2])
    found = locator.calibrate(scores, labels, sigmas=sigmas)
    # Scores closer than the rounding of floats are one for us, two for the reference.
    assert found.f1 == pytest.approx(best, abs=1e-12)
    assert naive(scores, labels, [found.sigma], [found.tau], "renormalise")[2] == found.f1


def test_rounding_makes_no_threshold():
    """A third of 0.3 thrice is not 0.3: such scores are one."""
    scores, labels = [np.array([0.3, 0.1 + 0.2])], [np.array([0, 1])]
    found = locator.calibrate(scores, labels, sigmas=[0.01])
    assert found == pytest.approx((0.01, 0.3 - locator.ROUNDING, 2 / 3))


def test_thresholds_count_in_the_given_order():
    """A tie goes to the first in the grid, also where the grid descends."""
    scores, labels = [np.array([0.1, 0.9])], [np.array([0, 1])]
    for thresholds in ([0.3, 0.5, 0.7], [0.7, 0.5, 0.3], [0.5, 0.3, 0.5]):
        found = locator.calibrate(scores, labels, sigmas=[0.01, 0.02], thresholds=thresholds)
        assert found == (0.01, thresholds[0], 1.0)


def test_a_score_at_the_threshold_is_not_above_it():
    scores, labels = [np.array([0.5])], [np.array([1])]
    found = locator.calibrate(scores, labels, thresholds=[0.5, np.nextafter(0.5, 0)])
    assert found.tau == np.nextafter(0.5, 0)
    with pytest.raises(DataError, match="F1 is 0 throughout"):
        locator.calibrate(scores, labels, thresholds=[0.5])


@CHECKED
@given(st.integers(0, 2**32 - 1))
def test_frames_of_segments_count_as_frames(seed):
    """[T, 2] frame counts of segments give the F1 over single frames."""
    random = np.random.default_rng(seed)
    scores, _ = videos(seed)
    counts = [random.integers(0, 4, (len(one), 2)) for one in scores]
    counts[0][0] = 1, 3
    sigmas, thresholds = [0.1, 1.0], np.linspace(0.1, 0.9, 9)
    found = locator.calibrate(scores, counts, sigmas=sigmas, thresholds=thresholds)
    best = (0, 0, -1)
    for sigma in sigmas:
        smoothed = [locator.smooth(one, sigma) for one in scores]
        for tau in thresholds:
            truth, marked = [], []
            for values, table in zip(smoothed, counts, strict=True):
                for value, (negative, positive) in zip(values, table.tolist(), strict=True):
                    truth += [0] * negative + [1] * positive
                    marked += [int(value > tau)] * (negative + positive)
            f1 = f1_score(truth, marked, zero_division=0)
            if f1 > best[2]:
                best = (sigma, tau, f1)
    assert tuple(found) == best


def test_weights_are_frames_of_a_segment():
    scores, labels = videos(5)
    weights = [np.arange(1, len(one) + 1) for one in scores]
    sigmas, thresholds = [0.5, 1.0], np.linspace(0.1, 0.9, 9)
    found = locator.calibrate(scores, labels, weights=weights, sigmas=sigmas, thresholds=thresholds)
    expected = naive(scores, labels, sigmas, thresholds, "renormalise", weights)
    assert found[:2] == expected[:2]
    assert found.f1 == pytest.approx(expected[2])


@pytest.mark.parametrize(
    ("scores", "labels", "options", "message"),
    [
        ([], [], {}, "0 videos"),
        ([[0.5]], [], {}, "0 have labels"),
        ([[0.5, 0.1]], [[1]], {}, "video 0"),
        ([[0.5]], [[2]], {}, "video 0"),
        ([[0.5]], [[np.nan]], {}, "video 0"),
        ([[0.5]], [[[1, -1]]], {}, "video 0"),
        ([[0.5]], [[1]], {"weights": []}, "weights"),
        ([[0.5]], [[0]], {}, "nothing to calibrate"),
        ([[np.nan]], [[1]], {}, "not finite"),
        ([[0.5]], [[1]], {"sigmas": []}, "grid"),
        ([[0.5]], [[1]], {"thresholds": []}, "grid"),
        ([[0.5]], [[1]], {"thresholds": [np.nan]}, "grid"),
    ],
)
def test_bad_calibration(scores, labels, options, message):
    with pytest.raises(DataError, match=message):
        locator.calibrate(scores, labels, **options)


@CHECKED
@given(SCORES, st.floats(0, 1))
def test_events_cover_what_is_above_the_threshold(scores, tau):
    found = locator.events(scores, tau)
    inside = {t for event in found for t in range(event.start, event.end)}
    assert inside == {t for t, score in enumerate(scores) if score > tau}
    assert all(a.end < b.start for a, b in pairwise(found))
    assert all(event.peak == max(scores[event.start : event.end]) for event in found)


def test_events_in_frames_of_segments():
    segments = [[0, 48], [48, 96], [96, 144], [150, 198], [198, 210]]
    found = locator.events([0.9, 0.8, 0.1, 0.7, 0.95], 0.5, segments)
    assert found == [Event(0, 96, 0.9), Event(150, 210, 0.95)]
    # a gap ends an event
    assert len(locator.events([0, 0, 1, 1, 0], 0.5, segments)) == 2
    assert locator.events([], 0.5) == []


@pytest.mark.parametrize(
    ("segments", "message"),
    [([[0, 5]], "shape"), ([[0, 5], [4, 9]], "overlap"), ([[0, 5], [5, 5]], "empty")],
)
def test_bad_segments(segments, message):
    with pytest.raises(DataError, match=message):
        locator.events([0.1, 0.2], 0.5, segments)


@CHECKED
@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=8),
    st.lists(st.tuples(st.integers(0, 50), st.integers(1, 20)), max_size=4),
)
@example([5, 5], [(0, 3)])
def test_frame_counts_are_counted_frames(lengths, spans):
    ends = np.cumsum(lengths)
    segments = np.stack([ends - lengths, ends], axis=1)
    anomalous = {t for start, length in spans for t in range(start, start + length)}
    intervals = [(start, start + length) for start, length in spans]
    expected = [
        [sum(t not in anomalous for t in range(a, b)), sum(t in anomalous for t in range(a, b))]
        for a, b in segments.tolist()
    ]
    assert locator.frame_counts(segments, intervals).tolist() == expected


def causal_by_hand(scores, sigma, border):
    """Each output a weighted mean of the score and those before it, by the definition."""
    half = max(3, int(6 * sigma) + 1) // 2
    weight = [np.exp(-(k**2) / (2 * sigma**2)) for k in range(half + 1)]
    smoothed = []
    for i in range(len(scores)):
        taken = [(weight[k], scores[i - k]) for k in range(half + 1) if i >= k]
        whole = sum(w for w, _ in taken) if border == "renormalise" else sum(weight)
        smoothed.append(sum(w * s for w, s in taken) / whole)
    return np.array(smoothed)


@CHECKED
@given(SCORES, st.floats(0.3, 4), st.sampled_from(locator.BORDERS))
def test_causal_smoothing_is_its_definition(scores, sigma, border):
    found = locator.smooth_causal(scores, sigma, border)
    np.testing.assert_allclose(found, causal_by_hand(scores, sigma, border), rtol=1e-12, atol=1e-12)
    later = locator.smooth_causal([*scores, 1.0, 0.0, 1.0], sigma, border)
    assert later[: len(scores)].tolist() == found.tolist()  # the future changes nothing


@CHECKED
@given(st.data(), SCORES, st.floats(0.3, 4), st.sampled_from(locator.BORDERS))
def test_causal_smoothing_is_the_same_wherever_it_is_cut(data, scores, sigma, border):
    whole = locator.smooth_causal(scores, sigma, border)
    at, past, parts = 0, [], []
    while at < len(scores):
        step = data.draw(st.integers(1, len(scores)))
        part = scores[at : at + step]
        parts += locator.smooth_causal(part, sigma, border, past).tolist()
        past = [*past, *part][-locator.reach(sigma) :]
        at += step
    assert parts == whole.tolist()


def test_causal_smoothing_is_late():
    assert locator.causal_delay(0.5) == pytest.approx(0.119, abs=1e-3)
    rise = locator.smooth_causal([0] * 30 + [1] * 30, 2.0)
    assert int(np.argmax(rise > 0.5)) == 31  # the second segment of the rise
    assert 1 < locator.causal_delay(2.0) < 2


def test_a_causal_locator_is_calibrated_on_causal_scores():
    rng = np.random.default_rng(3)
    scores = [rng.uniform(0, 0.5, 30), np.r_[rng.uniform(0, 0.5, 20), rng.uniform(0.4, 1, 10)]]
    labels = [np.zeros(30), np.r_[np.zeros(20), np.ones(10)]]
    found = locator.calibrate(scores, labels, sigmas=[1.5], causal=True)
    smoothed = np.concatenate([causal_by_hand(one, 1.5, "renormalise") for one in scores])
    truth = np.concatenate(labels)
    assert found.f1 == pytest.approx(
        max(f1_score(truth, smoothed > tau) for tau in np.unique(smoothed)), abs=1e-9
    )
    made = locator.Locator(found.sigma, found.tau, causal=True)
    assert f1_score(truth, np.concatenate([made.smooth(one) for one in scores]) > found.tau) == (
        pytest.approx(found.f1)
    )
    segments = np.array([[i * 10, i * 10 + 10] for i in range(30)])
    segments[20:] += 5  # a gap
    parts = [scores[1][:20], scores[1][20:]]
    expected = np.concatenate([causal_by_hand(one, 1.5, "renormalise") for one in parts])
    np.testing.assert_allclose(made.smooth(scores[1], segments), expected)
