"""LAVAD's steps on what the official code computes for seeded inputs (see the vectors' README)."""

from __future__ import annotations

import numpy as np
import pytest

from hhvad.methods.lavad import clean, rate, refine, summarise
from hhvad.methods.lavad.index import unique_texts, unit
from hhvad.methods.lavad.windows import Windows, windows


@pytest.fixture(params=["ucf", "short", "fewsummaries"])
def case(request, shared):
    path = shared / "methods" / f"lavad_dev_{request.param}.npz"
    if not path.is_file():
        pytest.skip("no such vectors here")
    return dict(np.load(path))


def exact_windows(case) -> Windows:
    return windows(
        int(case["n_frames"]),
        float(case["fps"]),
        stride=int(case["interval"]),
        seconds=float(case["seconds"]),
        samples=int(case["samples"]),
        on="exact",
    )


def caption_index(case):
    """Entries whose texts are rows of the pool, as strings."""
    grid = range(0, int(case["n_frames"]), int(case["interval"]))
    said = {f"c{b}": [(f, str(row[f])) for f in grid] for b, row in enumerate(case["raw"])}
    return unique_texts(said)


def test_windows(case):
    found = exact_windows(case)
    np.testing.assert_array_equal(found.centres, case["centres"])
    for frames, wanted, count in zip(
        found.frames, case["window_frames"], case["window_count"], strict=True
    ):
        np.testing.assert_array_equal(frames, wanted[:count])


def test_the_index_of_captions(case):
    found = {(entry.frame, int(entry.source[1:])) for entry in caption_index(case)}
    wanted = set(zip(case["index_frame"].tolist(), case["index_captioner"].tolist(), strict=True))
    assert found == wanted
    assert len(caption_index(case)) == len(case["index_frame"])


def test_cleaned_captions(case):
    pool = np.array([int(entry.text) for entry in caption_index(case)])
    found = clean.nearest_captions(
        exact_windows(case),
        np.arange(int(case["n_frames"])),
        unit(case["frame_vectors"]),
        unit(case["caption_vectors"][pool]),
    )
    for chosen, wanted, count in zip(
        found.chosen, case["clean"], case["window_count"], strict=True
    ):
        np.testing.assert_array_equal(pool[chosen], wanted[:count])


def test_questions_and_what_is_kept_of_answers(case):
    asked = [
        summarise.join_captions([str(case["captions"][i]) for i in row[:count]])
        for row, count in zip(case["clean"], case["window_count"], strict=True)
    ]
    assert asked == case["summary_user"].tolist()
    answers = case["summary_answers"].tolist()
    assert [summarise.summary_of(a, exact=True) for a in answers] == case["summaries"].tolist()
    assert [rate.rated_text(s) for s in case["summaries"].tolist()] == case["score_user"].tolist()


def test_numbers_and_their_interpolation(case):
    numbers = [rate.read_number(str(a), exact=True) for a in case["score_answers"]]
    np.testing.assert_array_equal([-1 if n is None else n for n in numbers], case["parsed"])
    found = rate.rate_windows(numbers, "video")
    np.testing.assert_allclose(found.scores, case["scores"], atol=1e-6, rtol=0)
    np.testing.assert_array_equal(found.interpolated, case["parsed"] == -1)


def test_refined_scores(case):
    centres = case["centres"].tolist()
    entries = unique_texts({"llm": list(zip(centres, case["summaries"].tolist(), strict=True))})
    assert [entry.frame for entry in entries] == case["summary_index_frames"].tolist()
    pool = case["summary_texts"].tolist()
    texts = unit(case["summary_vectors"])[[pool.index(entry.text) for entry in entries]]
    scores = case["scores"][[centres.index(entry.frame) for entry in entries]]
    queries = unit(case["window_vectors"])
    k = int(case["neighbours"])
    found = refine.nearest(queries, texts, k)
    kept = found.rows.shape[1]
    assert kept == min(k, len(entries))
    np.testing.assert_allclose(
        found.cosines, case["neighbour_similarity"][:, :kept], atol=1e-5, rtol=0
    )
    frames = [entries[row].frame for row in found.rows.ravel()]
    np.testing.assert_array_equal(frames, case["neighbour_frames"][:, :kept].ravel())
    refined = refine.by_summaries(queries, texts, scores, k=k, temperature=1.0)
    n, stride = int(case["n_frames"]), int(case["interval"])
    found_scores = refine.frame_scores(refined, n, stride)
    np.testing.assert_allclose(found_scores, case["frame_scores"], atol=1e-6, rtol=0)
