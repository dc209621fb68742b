"""LAVAD's steps on cases worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from hhvad.errors import DataError
from hhvad.methods.lavad import ablate, clean, rate, refine, summarise
from hhvad.methods.lavad.index import unique_texts, unit
from hhvad.methods.lavad.windows import windows
from hhvad.methods.zero_shot.score import score_phrases


def test_grid_windows_take_multiples_of_the_stride():
    found = windows(50, 10, stride=8, seconds=4, samples=3, on="grid")
    assert found.centres.tolist() == [0, 8, 16, 24, 32, 40, 48]
    # Around 24: frames 4 to 43, of which 8, 16, 24, 32, 40 are on the grid.
    assert found.frames[3].tolist() == [8, 24, 40]
    assert found.frames[0].tolist() == [0, 8, 16]
    assert set(found.wanted().tolist()) <= set(found.centres.tolist())


def test_a_window_of_no_frame_is_refused():
    with pytest.raises(DataError, match="holds no frame"):
        windows(50, 10, stride=8, seconds=0.1, samples=3, on="grid")


def test_a_text_belongs_to_its_first_frame_and_source():
    said = {"a": [(0, "x"), (16, "y")], "b": [(0, "y"), (16, "x")]}
    assert unique_texts(said) == [("x", 0, "a"), ("y", 0, "b")]


def test_a_frame_without_a_vector_is_named():
    with pytest.raises(DataError, match="frame 8 has no vector"):
        clean.rows_of(np.array([0, 8]), np.array([0, 16]))


def test_a_vector_of_no_length_is_refused():
    with pytest.raises(DataError, match="vector 1 is zero"):
        unit(np.array([[1.0, 0], [0, 0]]))


@pytest.mark.parametrize(
    ("answer", "number"),
    [("[0.3]", 0.3), ("a [1] [0]", 1.0), ("[5]", None), ("[ 0.3 ]", None), ("0.3", None)],
)  # fmt: skip
def test_numbers_of_answers(answer, number):
    assert rate.read_number(answer) == number


def test_unreadable_answers_are_interpolated_and_marked():
    found = rate.rate_windows([None, 0.2, None, 0.6], "v")
    np.testing.assert_allclose(found.scores, [0.2, 0.2, 0.4, 0.6])
    assert found.interpolated.tolist() == [True, False, True, False]
    with pytest.raises(DataError, match="v: none of the 2 answers"):
        rate.rate_windows([None, None], "v")


def test_the_expected_number():
    logits = np.full((1, 11), -1e3)
    logits[0, [2, 4]] = 0
    assert rate.expected_numbers(logits, "v") == pytest.approx([0.3])
    logits[0, 0] = np.nan
    with pytest.raises(DataError, match="v: log-probabilities of the numbers"):
        rate.expected_numbers(logits, "v")


def test_what_is_kept_of_an_answer():
    assert summarise.summary_of("Sure:\n\n<|im_end|> a fight \n") == "<|im_end|> a fight"
    assert summarise.summary_of("a\n", exact=True) == ""


def test_refinement_by_hand():
    queries = unit(np.array([[1.0, 0], [0, 1], [1, 0]]))
    scores = np.array([0.0, 1.0, 0.5])
    alone = refine.by_windows(queries, scores, share=0.1, temperature=0.1)
    np.testing.assert_allclose(alone, [0, 1, 0])  # of equals the earlier one
    pair = refine.by_windows(queries, scores, share=0.7, temperature=0.1)
    np.testing.assert_allclose(pair[[0, 2]], [0.25, 0.25])
    assert refine.segments(20, 16).tolist() == [[0, 16], [16, 20]]
    variants = ablate.refined_variants(queries, queries, scores, scores)
    assert len(variants) == 1 + 3 * 5
    np.testing.assert_array_equal(variants["unrefined"], scores)


def test_zero_shot_is_the_share_of_anomalous_phrases():
    vectors = np.eye(2, dtype=np.float32)
    found = score_phrases(vectors, vectors, np.array([False, True]), temperature=0.01)
    np.testing.assert_allclose(found, [0, 1], atol=1e-9)
    with pytest.raises(DataError, match="ordinary and anomalous"):
        score_phrases(vectors, vectors, np.array([True, True]), temperature=1)
