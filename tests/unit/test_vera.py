"""VERA: windows and scores by hand, the two commands, the file of questions, the config."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
import yaml
from cameras import write_video
from hypothesis import given
from hypothesis import strategies as st
from probes import write_probe

from hhvad.artifacts import hdf5, scores
from hhvad.cli import main
from hhvad.config import parse
from hhvad.errors import ConfigError, DataError
from hhvad.files import write_json
from hhvad.media.probe import probe
from hhvad.methods.vera import score
from hhvad.methods.vera.settings import Questions
from hhvad.methods.vera.windows import around
from hhvad.study import Study

ROOT = Path(__file__).parents[2]


def test_windows_are_cut_to_the_video():
    spans, picked = around(40, stride=16, length=20, samples=2)
    assert spans.tolist() == [[0, 10], [6, 26], [22, 40]]
    assert picked.tolist() == [[2, 7], [11, 21], [26, 35]]


def test_a_window_of_few_frames_repeats_them():
    spans, picked = around(3, stride=16, length=300, samples=8)
    assert spans.tolist() == [[0, 3]]
    assert picked[0].tolist() == [0, 0, 0, 1, 1, 2, 2, 2]


def test_nobody_sees_damaged_frames():
    spans, picked = around(64, stride=16, length=40, samples=4, damaged=((20, 30),))
    assert spans.tolist() == [[0, 20], [12, 52], [28, 64]]  # not around 16, whose frames are lost
    assert not {*range(20, 30)} & {*picked.ravel().tolist()}


def test_a_window_without_a_half():
    with pytest.raises(DataError, match="at least 2"):
        around(10, stride=1, length=1, samples=1)


@given(st.integers(1, 400), st.integers(1, 50), st.integers(2, 300), st.integers(1, 12))
def test_frames_lie_in_their_windows(frames: int, stride: int, length: int, samples: int):
    spans, picked = around(frames, stride=stride, length=length, samples=samples)
    assert len(spans) == -(-frames // stride)
    assert (picked >= spans[:, :1]).all()
    assert (picked < spans[:, 1:]).all()
    assert (np.diff(picked, axis=1) >= 0).all()


def test_probabilities_and_rounded_ones():
    logprobs = np.log([[[0.6, 0.2]], [[0.1, 0.3]], [[0.4, 0.4]]])
    assert score.answered(logprobs) == pytest.approx([0.25, 0.75, 0.5])
    assert score.answered(logprobs, rounded=True).tolist() == [0, 1, 0]
    with pytest.raises(DataError, match="log-probabilities"):
        score.answered(np.full((2, 1, 2), np.nan))


def test_smoothing_by_hand_and_over_a_gap():
    bounds = np.array([[0, 4], [4, 8], [8, 12], [20, 24]])
    side = np.exp(-0.5)
    found = score.smoothed(np.array([1.0, 0, 0, 1]), bounds, points=3, sigma=1)
    assert found == pytest.approx([1 / (1 + side), side / (1 + 2 * side), 0, 1])
    one = score.smoothed(np.array([0.2, 0.4, 0.6, 0.8]), bounds, points=1, sigma=10)
    assert one == pytest.approx([0.2, 0.4, 0.6, 0.8])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=40), st.integers(1, 20))
def test_smoothing_stays_between_the_scores(values: list[float], points: int):
    given = np.array(values)
    starts = np.arange(len(given)) * 16
    bounds = np.stack([starts, starts + 16], axis=1)
    found = score.smoothed(given, bounds, points=points, sigma=10)
    assert found.min() >= given.min() - 1e-12
    assert found.max() <= given.max() + 1e-12


def test_the_position_prior():
    assert score.by_position(np.ones(5)) == pytest.approx(np.exp([-0.5, -0.125, 0, -0.125, -0.5]))
    assert score.by_position(np.ones(1)) == pytest.approx([1])


def test_the_commands(tmp_path: Path):
    video = write_video(tmp_path / "v.mp4", 50)
    info = tmp_path / "v.json"
    write_json(info, probe(video).to_json("v"))
    windows = [f"--probe={info}", "--stride=16", "--length=40", "--samples=3"]
    frames = tmp_path / "f.h5"
    words = ["sample-around", "--video=v", f"--path={video}", *windows, "--size", "24", "32"]
    assert main([*words, "--threads=1", "--timeout=60", f"--out={frames}"]) == 0
    spans, picked = around(50, stride=16, length=40, samples=3)
    with h5py.File(frames) as file:
        assert file["frames"].shape == (4, 3, 24, 32, 3)
        assert file["indices"][()].tolist() == picked.tolist()
    logprobs = np.log(np.array([[[0.5, 0.5]], [[0.1, 0.9]], [[0.8, 0.2]], [[0.5, 0.5]]]))
    arrays = {"logprobs": logprobs, "segments": spans}
    hdf5.write(tmp_path / "a.h5", "logprobs", arrays, {})
    words = [
        "score-vera",
        f"--answers={tmp_path / 'a.h5'}",
        *windows,
        f"--out={tmp_path / 's.tsv'}",
    ]
    assert main(words) == 0
    found = scores.read(tmp_path / "s.tsv")
    assert found.bounds.tolist() == [[0, 16], [16, 32], [32, 48], [48, 50]]
    assert found.scores == pytest.approx([0.5, 0.9, 0.2, 0.5])
    assert main([*words, "--rounded", "--position-weight"]) == 0
    assert scores.read(tmp_path / "s.tsv").scores.tolist() == [
        0,
        pytest.approx(np.exp(-(0.5**2) / 8)),
        0,
        0,
    ]
    assert main([*words, "--points=3", "--sigma=1000"]) == 0
    assert scores.read(tmp_path / "s.tsv").scores == pytest.approx(
        [0.7, 1.6 / 3, 1.6 / 3, 0.35], abs=1e-5
    )


def test_similar_windows_correct_each_other(tmp_path: Path):
    """Frames 0, 16 and 48 look alike; windows of 32 frames hold one or two grid frames."""
    info = tmp_path / "v.json"
    write_probe(info, frames=64, fps=25)
    spans, _ = around(64, stride=16, length=2, samples=1)
    logprobs = np.log(np.array([[[0.2, 0.8]], [[0.6, 0.4]], [[0.9, 0.1]], [[0.5, 0.5]]]))
    hdf5.write(tmp_path / "a.h5", "logprobs", {"logprobs": logprobs, "segments": spans}, {})
    alike, other = [1.0, 0.0], [0.0, 1.0]
    vectors = np.array([alike, alike, other, alike], np.float32)
    arrays = {"vectors": vectors, "indices": np.array([0, 16, 32, 48])}
    hdf5.write(tmp_path / "x.h5", "vectors", arrays, {})
    words = [
        *("score-vera", f"--answers={tmp_path / 'a.h5'}", f"--probe={info}", "--stride=16"),
        *("--length=2", "--samples=1", f"--frame-vectors={tmp_path / 'x.h5'}", "--share=0.75"),
        f"--out={tmp_path / 's.tsv'}",
    ]
    assert main(words) == 0
    mean = (0.8 + 0.4 + 0.5) / 3
    rest = np.exp(-10) / (1 + 2 * np.exp(-10))
    last = 0.1 * (1 - 2 * rest) + rest * (0.8 + 0.4)
    assert scores.read(tmp_path / "s.tsv").scores == pytest.approx([mean, mean, last, mean])


def test_answers_of_other_windows_are_refused(tmp_path: Path, capsys):
    info = tmp_path / "v.json"
    write_probe(info, frames=64, fps=25)
    arrays = {"logprobs": np.zeros((1, 1, 2)), "segments": np.array([[0, 64]])}
    hdf5.write(tmp_path / "a.h5", "logprobs", arrays, {})
    words = ["score-vera", f"--answers={tmp_path / 'a.h5'}", f"--probe={info}", "--stride=16"]
    assert main([*words, "--length=30", "--samples=2", f"--out={tmp_path / 's'}"]) == 2
    assert "its windows are not those of" in capsys.readouterr().err


# --- the config -----------------------------------------------------------------------------------


def test_the_question_holds_the_guiding_ones():
    asked = parse(Questions, yaml.safe_load((ROOT / "config/questions-vera.yaml").read_text()), "q")
    assert len(asked.questions) == 5
    assert "\n1. Does somebody fight" in asked.text
    assert "{questions}" not in asked.text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ask": "Is it abnormal?"}, "ask must hold {questions} once"),
        ({"questions": []}, "questions"),
        ({"questions": list("abcdef")}, "questions"),
        ({"answers": ["0", "0"]}, "answers are both '0'"),
        ({"question": "x"}, "question"),
    ],
)
def test_bad_questions(change: dict, message: str):
    data = {"ask": "{questions} 0 or 1?", "questions": ["a"], **change}
    with pytest.raises(ConfigError, match=message.replace("{", r"\{")):
        parse(Questions, data, "q.yaml")


@pytest.fixture
def config(monkeypatch: pytest.MonkeyPatch) -> dict:
    monkeypatch.chdir(ROOT)
    data = yaml.safe_load((ROOT / "config/methods.yaml").read_text())
    data["methods"] = {"v": data["methods"]["vera"]}
    return data


def test_a_study_with_it(config: dict):
    study = Study.load(config, [])
    assert study.multimodal == ["demo"]
    assert study.segment_length("v") == 16
    assert study.check_of("demo")["prompts"] == ["1. Is anything abnormal happening?"]
    assert study.costed["v"]["needs"]["labels"] == ""
    assert not [note for note in study.notes if "position_weight" in note]


def test_the_prior_is_flagged(config: dict):
    config["methods"]["v"]["position_weight"] = True
    notes = [note for note in Study.load(config, []).notes if "position_weight" in note]
    assert "where events lie in this data set" in notes[0]


def test_an_encoder_that_is_none(config: dict):
    config["methods"]["v"]["encoder"] = "demo"
    with pytest.raises(ConfigError, match=r"methods\.v\.encoder is 'demo'"):
        Study.load(config, [])


def test_a_file_of_questions_that_is_not_there(config: dict):
    config["methods"]["v"]["questions"] = "config/none.yaml"
    with pytest.raises(ConfigError, match=r"config/none\.yaml"):
        Study.load(config, [])
