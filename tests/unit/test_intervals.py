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


def test_difference_of_a_method_to_itself_is_nothing() -> None:
    without = np.array([0.6, 0.7, 0.8])
    low, high = intervals.paired_difference(0.7, 0.7, (0.5, 0.9), (0.5, 0.9), without, without)
    assert (low, high) == pytest.approx((0, 0), abs=1e-7)


def test_leave_out_in_groups() -> None:
    values = intervals.leave_out(lambda w: {"n": float(w.sum())}, 10, most=5)
    assert values["n"].tolist() == [8.0] * 5
