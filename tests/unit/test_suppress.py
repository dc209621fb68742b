"""Marks that teach: which events they suppress, on features made by hand; mistakes by name."""

from __future__ import annotations

import json

import numpy as np
import probes
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from hhvad.artifacts import hdf5, scores
from hhvad.cli import main
from hhvad.errors import DataError
from hhvad.files import read_json, read_tsv, write_json, write_tsv
from hhvad.localization import suppress
from hhvad.localization.locator import Locator

BOUNDS = np.array([[0, 10], [10, 20], [20, 30], [30, 40]])
USUAL = suppress.Ordinary(np.array([1.0, 1.0]), np.diag([0.5, 1.0]))
COLUMNS = ("video", "method", "start_frame", "end_frame", "mark")


def test_vectors_by_hand():
    features = [[1, 1], [5, 1], [1, 5], [1, 1]]
    found = suppress.vectors(features, BOUNDS, [(10, 20), (10, 30), (29, 31), (0, 10)], USUAL)
    # (5 - 1) / 2 = 2 and (5 - 1) / 1 = 4: the mean of (2, 0) and (0, 4) is (1, 2).
    expected = [[1, 0], np.array([1, 2]) / np.sqrt(5), [0, 1], [0, 0]]
    np.testing.assert_allclose(found.units, expected)
    assert found.segments.tolist() == [1, 2, 2, 1]


def test_ordinary_footage_varies_as_much_in_every_direction():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(20_000, 2)) @ [[3, 1], [0, 0.5]] + [7, -2]
    usual = suppress.ordinary(features)
    np.testing.assert_allclose(usual.centre, [7, -2], atol=0.1)
    scaled = (features - usual.centre) @ usual.scale
    np.testing.assert_allclose(np.cov(scaled.T), np.eye(2), atol=0.01)


def test_what_never_varies_counts_when_it_does():
    usual = suppress.ordinary([[1, 3], [1, 5]])
    (unit,) = suppress.vectors([[2, 4.5]], [[0, 10]], [(0, 10)], usual).units
    assert unit[0] > 0.9
    same = suppress.ordinary([[1, 3], [1, 3]])
    np.testing.assert_array_equal(same.scale, np.eye(2))
    with pytest.raises(DataError, match="not \\[N, D\\]"):
        suppress.ordinary(np.zeros((0, 2)))


def found(events, false, true, similarity=0.9):
    marks = np.array([*false, *true], dtype=float).reshape(-1, 2)
    is_false = np.array([True] * len(false) + [False] * len(true), dtype=bool)
    return suppress.suppressed(of_one(events), of_one(marks), is_false, similarity)


def of_one(units):
    """Events of one segment each."""
    return suppress.Vectors(np.array(units, dtype=float), np.ones(len(units), dtype=np.int64))


def test_an_event_clearly_longer_than_the_mark_is_not_suppressed():
    unit = np.array([[1.0, 0.0]])
    for marked, event, hit in ((1, 2, True), (1, 3, False), (8, 10, True), (8, 11, False)):
        found = suppress.suppressed(
            suppress.Vectors(unit, np.array([event])), suppress.Vectors(unit, np.array([marked])),
            np.array([True]), 0.9,
        )  # fmt: skip
        assert found == [suppress.Match(0, 1.0) if hit else None]


def test_an_event_like_a_false_mark_is_suppressed_by_it():
    near = [0.96, 0.28]
    assert found([[1, 0]], [[0, 1], near], []) == [suppress.Match(1, 0.96)]
    assert found([[1, 0]], [near], [], 0.97) == [None]
    assert found([[1, 0]], [near], [[0.98, np.sqrt(1 - 0.98**2)]]) == [None]
    assert found([[1, 0]], [near], [[0.28, 0.96]]) == [suppress.Match(0, 0.96)]
    assert found([[1, 0]], [near], [near]) == [None], "of equal ones, the true mark wins"
    assert found([[1, 0]], [], []) == [None]
    assert found([[0, 0]], [[1, 0]], []) == [None], "an event like nothing"


unit = arrays(float, (4, 3), elements=st.floats(-1, 1)).map(
    lambda a: a / np.maximum(np.linalg.norm(a, axis=1, keepdims=True), 1e-3)
)


@given(unit, unit, st.lists(st.booleans(), min_size=4, max_size=4), st.floats(0.05, 1))
def test_true_marks_only_ever_give_events_back(events, marks, false, similarity):
    is_false = np.array(false)
    ones = of_one(events)
    both = suppress.suppressed(ones, of_one(marks), is_false, similarity)
    alone = suppress.suppressed(ones, of_one(marks[is_false]), is_false[is_false], similarity)
    for one, other in zip(both, alone, strict=True):
        assert one is None or other is not None
        if one is not None:
            assert one.cosine >= similarity
            assert is_false[one.mark]


def capture(path, first):
    """Features of four segments, one expert; `first` is that of segment 1, others are ordinary."""
    features = np.ones((4, 1, 1, 2), np.float32)
    features[1, 0, 0] = first
    given = {"model": "m", "prompt": "p"}
    hdf5.write(path, "features", {"features": features, "segments": BOUNDS}, given)
    return str(path)


@pytest.fixture
def learn(tmp_path):
    """Learn marks of video `old`; judge video `new`, whose event is segment 1."""
    scorer = tmp_path / "scorer.h5"
    hdf5.write(scorer, "scorer", {"experts": np.array([[0, 0]])}, {"kind": "logistic"})
    usual = tmp_path / "usual.h5"
    features = np.array([[0, 0], [2, 2]], np.float32).reshape(2, 1, 1, 2)
    hdf5.write(usual, "features", {"features": features, "segments": BOUNDS[:2]}, {})

    def run(marks, event=(9, 1), camera="door", old=(5, 1)):
        write_tsv(tmp_path / "marks.tsv", COLUMNS, marks)
        done = main(
            ["learn-marks", "--method", "hunt", "--marks", str(tmp_path / "marks.tsv"),
             "--videos", "old", "--cameras", "door",
             "--features", capture(tmp_path / "old.h5", old),
             "--ordinary", str(usual), "--ordinary-cameras",
             "--scorer", str(scorer), "--out", str(tmp_path / "marks.h5")]
        )  # fmt: skip
        assert done == 0
        scores.write(tmp_path / "new.tsv", BOUNDS, np.array([0.0, 1.0, 0.0, 0.0]))
        probes.write_probe(tmp_path / "new.json", 40)
        write_json(tmp_path / "locator.json", Locator(0.1, 0.5).to_json())
        out = [str(tmp_path / f"out{suffix}") for suffix in (".s.tsv", ".tsv", ".json")]
        command = [
            "localize-alarms", "--video", "new", "--method", "hunt",
            "--scores", str(tmp_path / "new.tsv"), "--probe", str(tmp_path / "new.json"),
            "--locator", str(tmp_path / "locator.json"), "--camera", camera,
            "--merge-gap", "0", "--min-duration", "0", "--pad", "0", "--low", "none",
            "--ignore-hours", "--marks", str(tmp_path / "marks.h5"), "--scorer", str(scorer),
            "--features", capture(tmp_path / "new.h5", event), "--similarity", "0.9",
            "--out-scores", out[0], "--out-events", out[1], "--out-json", out[2],
        ]  # fmt: skip
        assert main(command) == 0
        return read_tsv(out[1]), read_json(out[2])

    return run


MARK = ("old", "hunt", 10, 20, "false")


def test_files_say_what_suppresses_an_event(learn):
    rows, told = learn([MARK])
    assert [(row["suppressed"], row["cosine"]) for row in rows] == [("old 10-20", "1.0")]
    assert told["alarms"] == "without those suppressed by marks (similarity 0.9)"
    assert told["events"][0]["suppressed"] == "old 10-20"


@pytest.mark.parametrize(
    ("marks", "changes"),
    [
        ([], {}),
        ([("old", "other", 10, 20, "false")], {}),
        ([("old", "hunt", 10, 20, "unsure")], {}),
        ([("old", "hunt", 10, 20, "true")], {}),
        ([MARK, ("old", "hunt", 10, 20, "true")], {}),
        ([MARK], {"camera": "yard"}),
        ([MARK], {"event": (1, 9)}),
        ([MARK], {"old": (1, 1)}),
    ],
    ids=["none", "method", "unsure", "true", "both", "camera", "unlike", "usual"],
)
def test_what_suppresses_nothing(learn, marks, changes):
    rows, _ = learn(marks, **changes)
    assert [(row["suppressed"], row["cosine"]) for row in rows] == [("", "")]


def test_marks_of_what_is_gone_are_counted(learn, capsys, tmp_path):
    learn([MARK, ("gone", "hunt", 0, 9, "false"), ("old", "hunt", 400, 420, "true")])
    assert "2 marks are of videos or frames that are no longer there" in capsys.readouterr().err
    assert hdf5.read(tmp_path / "marks.h5", "marks").provenance["unused"] == 2


def test_same_marks_same_bytes(learn, tmp_path):
    learn([MARK])
    first = (tmp_path / "marks.h5").read_bytes(), (tmp_path / "out.json").read_bytes()
    learn([MARK])
    assert first == ((tmp_path / "marks.h5").read_bytes(), (tmp_path / "out.json").read_bytes())
    json.loads(first[1])
