"""Focus sampling against the official vectors, by hand, and its properties."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hhvad.describe import focus
from hhvad.describe.focus import Floor
from hhvad.errors import DataError

CHECKED = settings(deadline=None, max_examples=80, derandomize=True)
PAPER = Floor("absolute", 0.1)


def test_official_density(shared):
    vectors = np.load(shared / "methods" / "ats_dev.npz", allow_pickle=False)
    scores = np.split(vectors["scores"], np.cumsum(vectors["lengths"])[:-1])
    expected = np.split(vectors["indices"], np.cumsum(vectors["select"])[:-1])
    for values, count, indices in zip(scores, vectors["select"].tolist(), expected, strict=True):
        found = focus.density(values, count, PAPER, distinct=False)
        assert found.tolist() == indices.tolist()


def test_official_uniform(shared):
    vectors = np.load(shared / "methods" / "holmes_uniform_dev.npz", allow_pickle=False)
    expected = np.split(vectors["indices"], np.cumsum(vectors["select"])[:-1])
    for frames, count, indices in zip(
        vectors["n_frames"].tolist(), vectors["select"].tolist(), expected, strict=True
    ):
        assert focus.uniform(frames, count).tolist() == indices.tolist()


def test_quiet_video_is_sampled_evenly():
    """The official code crashes here: its indices are floats."""
    assert focus.density([0.001] * 101, 5).tolist() == [0, 25, 50, 75, 100]
    assert focus.density([0.0] * 3, 3).dtype == np.int64


def test_share_by_hand():
    """Ten frames, the last two anomalous: mass 2 + 0.2 share = 2.5, steps of 0.625 from 0.3125."""
    scores = [0.0] * 8 + [1.0, 1.0]
    # Each frame has 0.05 of floor; 0.4 before frame 8, 1.45 before frame 9.
    assert focus.density(scores, 4, distinct=False).tolist() == [6, 8, 9, 9]
    assert focus.density(scores, 4).tolist() == [6, 7, 8, 9]


def test_event_gets_the_frames():
    """A ten-second event in an hour: with the floor as a share it is looked at, without it not."""
    scores = np.full(6750, 0.0)
    scores[3000:3019] = 0.9
    inside = [
        int(((chosen >= 3000) & (chosen < 3019)).sum())
        for chosen in (focus.density(scores, 12, floor) for floor in (Floor(), PAPER))
    ]
    assert inside[0] >= 9
    assert inside[1] <= 1


@CHECKED
@given(
    st.lists(st.floats(0, 1), min_size=1, max_size=120),
    st.integers(1, 20),
    st.floats(0, 0.9),
    st.sampled_from(focus.FLOORS),
)
def test_distinct_and_in_range(scores, count, value, kind):
    chosen = focus.density(scores, count, Floor(kind, value))
    assert len(chosen) == count
    assert (np.diff(chosen) >= 0).all()
    assert chosen.min() >= 0
    assert chosen.max() < len(scores)
    assert len(set(chosen.tolist())) == min(count, len(scores))


def test_span_of_a_video():
    bounds = [(s, min(s + 48, 1000)) for s in range(0, 1000, 48)]
    scores = np.linspace(0, 1, len(bounds))
    found = focus.choose(bounds, scores, (100, 900), 8)
    assert found.frames.tolist() == (100 + 16 * found.dense).tolist()
    assert found.scores.tolist() == [scores[frame // 48] for frame in found.frames.tolist()]
    short = focus.choose(bounds, scores, (100, 130), 8)
    assert short.frames.tolist() == (100 + focus.uniform(30, 8)).tolist()
    assert short.dense.tolist() == [-1] * 8
    with pytest.raises(DataError, match="no frame of 1000-1010 has a score"):
        focus.choose(bounds, scores, (1000, 1010), 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([[0.1]], 2), "shape"),
        (([0.1, 1.2], 2), "score 1 is 1.2"),
        (([0.1, np.nan], 2), "score 1 is nan"),
        (([], 2), "2 of 0 frames"),
        (([0.1], 0), "0 of 1 frames"),
        (([0.1], 1, Floor("other", 0)), "kind"),
        (([0.1], 1, Floor("share", 1.0)), "value"),
    ],
)
def test_bad_input(arguments, message):
    with pytest.raises(DataError, match=message):
        focus.density(*arguments)
