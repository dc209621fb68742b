"""The frames that the model sees, against METHOD's formula in fractions and by hand."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hhvad.errors import DataError
from hhvad.media.samplers import leading, plan, segments, uniform

CHECKED = settings(deadline=None, max_examples=200, derandomize=True)


def test_uniform_by_hand():
    assert uniform(0, 48, 16).tolist() == list(range(1, 48, 3))
    assert uniform(100, 110, 2).tolist() == [102, 107]
    assert uniform(7, 8, 4).tolist() == [7, 7, 7, 7]
    assert uniform(0, 3, 4).tolist() == [0, 1, 1, 2]  # 0.375, 1.125, 1.875, 2.625


@CHECKED
@given(st.integers(0, 10**7), st.integers(1, 10**7), st.integers(1, 64))
def test_uniform_is_the_formula(start, span, count):
    found = uniform(start, start + span, count)
    width = Fraction(span, count)
    assert found.tolist() == [
        math.floor(start + (i + Fraction(1, 2)) * width) for i in range(count)
    ]


@CHECKED
@given(st.integers(0, 10**6), st.integers(1, 10**5), st.integers(1, 64))
def test_uniform_stays_inside_in_order_and_symmetric(start, span, count):
    found = uniform(start, start + span, count)
    assert found[0] >= start
    assert found[-1] < start + span
    steps = np.diff(found)
    assert (steps >= 0).all()
    assert not len(steps) or steps.max() - steps.min() <= 1
    if span >= count:
        assert len(set(found.tolist())) == count


@CHECKED
@given(st.integers(1, 5000), st.integers(1, 200))
def test_segments_cover_each_frame_once(n_frames, length):
    cuts = segments(n_frames, length)
    assert [f for cut in cuts for f in range(cut.start, cut.end)] == list(range(n_frames))
    assert all(cut.end - cut.start == length for cut in cuts[:-1])
    assert 1 <= cuts[-1].end - cuts[-1].start <= length


@CHECKED
@given(st.integers(1, 10**5), st.integers(1, 64))
def test_but_last_is_the_official_sampling_of_a_video(n_frames, count):
    """int(width / 2 + i * width), width = (n - 1) / F; in fractions, where floats may be below."""
    _, indices = plan(n_frames, "video-but-last", count, 48)
    width = Fraction(n_frames - 1, count)
    assert indices[0].tolist() == [math.floor(width / 2 + i * width) for i in range(count)]


def test_the_grid_is_every_multiple_of_the_stride():
    cuts, indices = plan(100, "grid", 1, 16)
    assert indices[:, 0].tolist() == cuts[:, 0].tolist() == list(range(0, 100, 16))
    assert leading(4, 6, 3).tolist() == [4, 5, 5]
    with pytest.raises(DataError, match="cannot be sampled"):
        leading(4, 4, 1)


def test_views():
    cuts, indices = plan(100, "segments", 16, 48)
    assert cuts.tolist() == [[0, 48], [48, 96], [96, 100]]
    assert indices.shape == (3, 16)
    assert indices[2].tolist() == [96] * 4 + [97] * 4 + [98] * 4 + [99] * 4
    cuts, indices = plan(100, "video", 4, 48)
    assert (cuts.tolist(), indices.tolist()) == ([[0, 100]], [[12, 37, 62, 87]])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: plan(10, "frames", 16, 48),
            "view is 'frames'; it is one of video, video-but-last",
        ),
        (lambda: segments(0, 48), "0 frames cannot be cut"),
        (lambda: segments(10, 0), "segments of 0"),
        (lambda: uniform(5, 5, 1), r"\[5, 5\)"),
        (lambda: uniform(0, 5, 0), "0 frames cannot be sampled"),
    ],
)
def test_nonsense_is_refused(call, message):
    with pytest.raises(DataError, match=message):
        call()
