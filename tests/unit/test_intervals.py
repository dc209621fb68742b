"""Intervals against the formulas worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from hhvad.evaluation import intervals


def test_jackknife_by_hand() -> None:
    # logits 0 and log 3: se = log(3) / 2, and t with 1 degree of freedom is 12.7062
    low, high = intervals.jackknife(0.5, np.array([0.5, 0.75]), 1) or (0, 0)
    assert high == pytest.approx(1 / (1 + np.exp(-12.706205 * np.log(3) / 2)), abs=1e-6)
    assert low == pytest.approx(1 - high)


@pytest.mark.parametrize("without", [[0.5, np.nan], [0.5, 1.0], [0.5, 0.5]])
def test_no_jackknife(without: list[float]) -> None:
    assert intervals.jackknife(0.5, np.array(without), 1) is None
    assert intervals.jackknife(1.0, np.array([0.5, 0.6]), 1) is None


def test_edges_have_a_width() -> None:
    low, high = intervals.edge(1.0, 1.0, 10)
    assert (low, high) == (pytest.approx(0.025**0.1), 1.0)
    assert intervals.edge(0.0, 0.0, 10) == (0.0, pytest.approx(1 - 0.025**0.1))
    # the bootstrap's end where it is farther, and none where there is no bootstrap
    assert intervals.edge(1.0, 0.2, 10) == (0.2, 1.0)
    assert intervals.edge(0.0, 0.8, 10) == (0.0, 0.8)
    assert intervals.edge(1.0, np.nan, 10) == (low, 1.0)


def test_one_video_between_a_value_and_its_edge() -> None:
    # Of 10 videos, 1: Clopper and Pearson give 0.0025 to 0.4450 (their table). 1 - value is 1/10.
    assert intervals.near_edge(0.9, 1, 10) == pytest.approx((0.5550, 0.9975), abs=1e-4)
    assert intervals.near_edge(0.1, 0, 10) == pytest.approx((0.0025, 0.4450), abs=1e-4)
    # Half the odds of 1/10 become half the odds of each end.
    low, _ = intervals.near_edge(1 / 19, 0, 10)
    assert low / (1 - low) == pytest.approx(0.0025286 / (1 - 0.0025286) / 2, rel=1e-4)


VARYING = np.array([0.5, 0.6, 0.7])


@pytest.mark.parametrize(
    ("value", "without", "drawn", "more", "kind"),
    [
        (0.6, VARYING, (0.1, 0.9), {}, "jackknife"),
        (0.6, VARYING, (np.nan, np.nan), {}, "jackknife"),
        (1.0, [1.0, 1.0, 1.0], (1.0, 1.0), {}, "edge"),
        (0.0, [0.0, 0.1, 0.0], (0.0, 0.1), {}, "edge"),
        (0.6, [0.5, 0.6, 1.0], (0.1, 0.9), {}, "near-edge"),
        (0.6, [0.5, 0.6, 0.0], (0.1, 0.9), {}, "near-edge"),
        (0.6, [0.5, 0.6, 1.0], (np.nan, np.nan), {}, "near-edge"),
        (0.6, [0.5, 0.6, np.nan], (0.1, 0.9), {}, "bootstrap"),
        (0.6, [0.5, 0.6, np.nan], (np.nan, np.nan), {}, "none"),
        (7.5, [7.0, 8.0, 9.0], (6.0, 8.0), {"share": False}, "bootstrap"),
        (0.6, VARYING, (0.1, 0.9), {"share": False}, "bootstrap"),
        (0.0, VARYING, (0.0, 0.0), {"share": False}, "none"),
        (0.5, [0.5, 0.5, 0.5], (0.5, 0.5), {}, "none"),
        (0.6, VARYING, (0.1, 0.9), {"fewest": 1}, "none"),
        (1.0, [1.0, 1.0, 1.0], (1.0, 1.0), {"fewest": 1}, "none"),
        (np.nan, VARYING, (0.1, 0.9), {}, "none"),
    ],
)
def test_which_kind(value, without, drawn, more, kind) -> None:
    settings = {"fewest": 3, **more}
    found = intervals.choose(value, np.array(without), drawn, **settings)
    assert found.kind == kind
    assert kind in intervals.KINDS
    if kind == "none":
        assert found.low is found.high is None
    else:
        assert found.low < found.high
        assert found.low <= value <= found.high
    if kind == "bootstrap":
        assert (found.low, found.high) == drawn
    if kind == "jackknife":
        assert (found.low, found.high) == intervals.jackknife(value, np.array(without), 2)


def test_methods_that_do_not_differ_have_no_interval() -> None:
    without, span = np.array([0.6, 0.7, 0.8]), (0.5, 0.9)
    assert intervals.paired_difference(0.7, 0.7, span, span, without, without) is None


def test_equal_values_that_differ_without_a_video_have_one() -> None:
    a, b, span = np.array([0.6, 0.7, 0.8]), np.array([0.8, 0.7, 0.6]), (0.5, 0.9)
    low, high = intervals.paired_difference(0.7, 0.7, span, span, a, b) or (0, 0)
    # r = -1: the reaches add up
    assert (low, high) == pytest.approx((-0.4, 0.4))


def test_difference_by_hand() -> None:
    # r = 0.5: lower 0.1 - sqrt(0.04 - 0.5 * 2 * 0.2 * 0.1 + 0.01), upper with 0.1 and 0.3
    a, b = np.array([0.6, 0.7, 0.8]), np.array([0.5, 0.7, 0.6])
    assert np.corrcoef(a, b)[0, 1] == pytest.approx(0.5)
    found = intervals.paired_difference(0.7, 0.6, (0.5, 0.8), (0.3, 0.7), a, b)
    assert found == pytest.approx((0.1 - 0.03**0.5, 0.1 + (0.01 - 0.03 + 0.09) ** 0.5))


def test_a_method_that_does_not_vary() -> None:
    still = np.array([0.5, 0.5, 0.5])
    found = intervals.paired_difference(0.5, 0.7, (0.5, 0.5), (0.6, 0.9), still, VARYING)
    assert found == pytest.approx((-0.2 - 0.2, -0.2 + 0.1))


def test_leave_out_in_groups() -> None:
    values = intervals.leave_out(lambda w: {"n": float(w.sum())}, 10, most=5)
    assert values["n"].tolist() == [8.0] * 5


def test_one_video_that_makes_most_of_the_variance() -> None:
    # AUC of 16 videos, one event of which is missed: without it nearly nothing is wrong.
    without = np.array([0.944, 0.945, 0.946, 0.947, 0.948] * 3 + [0.9996])
    wide = intervals.jackknife(0.951, without, 7)
    assert wide is not None
    assert wide[0] < 0.3
    found = intervals.choose(0.951, without, (0.86, 0.998), fewest=8)
    assert found.kind == "near-edge"
    assert found[:2] == intervals.farther(intervals.near_edge(0.951, 1, 8), (0.86, 0.998))
    # Without a bootstrap there is nothing that could be narrower.
    assert intervals.choose(0.951, without, (np.nan, np.nan), fewest=8)[:2] == wide
    # Hardly any variance, though one video makes most of it: the jackknife is narrower.
    still = intervals.choose(0.951, 0.951 + (without - 0.951) / 1000, (0.94, 0.96), fewest=8)
    assert still.kind == "jackknife"


@pytest.mark.parametrize(
    ("without", "end"),
    [
        ([0.5, 0.5, 0.5], None),
        ([*[0.5, 0.52, 0.54] * 5, 0.6], None),
        ([0.5, np.nan, 1.0], None),
        ([0.5, 0.6, 1.0], 1),
        ([0.5, 0.6, 0.0], 0),
        ([*[0.50, 0.51, 0.52] * 5, 0.99], 1),
        ([*[0.50, 0.51, 0.52] * 5, 0.01], 0),
    ],
)
def test_the_end_that_hangs_on_one_video(without, end) -> None:
    assert intervals.hangs_on_one(np.array(without)) == end
