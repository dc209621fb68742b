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
from hhvad.errors import ConfigError, DataError, SheetError
from hhvad.files import write_json
from hhvad.media.probe import probe
from hhvad.methods.vera import score
from hhvad.methods.vera.learn import Labelled, Step, learn, read_questions
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


# --- learnt questions -----------------------------------------------------------------------------

START = Questions(ask="{questions} 0 or 1?", questions=("Is it bad?",))
TRAINING = Labelled(("n1", "n2", "a1"), (False, False, True))
VALIDATION = Labelled(("vn", "va", "vb"), (False, True, True))


class Scripted:
    """A model whose judgement depends on the first question, and which writes what it is told."""

    def __init__(self, *texts: str) -> None:
        self.texts = list(texts)
        self.seen: list[tuple[str, tuple[str, ...]]] = []

    def judge(self, asked: Questions, videos) -> list[float]:
        quality = {"Is it bad?": 0.0, "Is there a fight?": 0.2, "Is there a fire?": 0.4}
        better = quality.get(asked.questions[0], -0.2)
        return [0.5 + (better if "a" in video or "b" in video else -better) for video in videos]

    def write(self, text: str, videos) -> str:
        self.seen.append((text, tuple(videos)))
        return self.texts.pop(0)


def taught(model: Scripted, steps: int, **how):
    return learn(START, TRAINING, VALIDATION, model.judge, model.write, steps=steps, seed=3, **how)


def test_better_questions_are_kept_and_others_are_not():
    model = Scripted(
        "1. Is there a fight?\n2. Does somebody run?",
        "I cannot say.",
        "- Is it a nice day?",
        "Is there a fire?",
    )
    best, steps = taught(model, 4)
    assert best.questions == ("Is there a fire?",)
    assert best.ask == START.ask
    assert [step.kept for step in steps] == [True, True, False, False, True]
    assert [step.written for step in steps] == [True, True, False, True, True]
    assert [step.auc for step in steps] == [0.5, 1, 1, 0, 1]
    assert steps[0].loss == pytest.approx(np.log(2))
    assert steps[4].loss == pytest.approx(-np.log(0.9))
    asked, videos = model.seen[2]  # goes on from the best, not from the last
    assert "1. Is there a fight?\n2. Does somebody run?" in asked
    assert {video[0] for video in videos} == {"n", "a"}
    first, second = ("abnormal" if video[0] == "a" else "normal" for video in videos)
    assert f"is of a video that is {first};" in asked
    assert f"half is of a video that is {second};" in asked


def test_an_interrupted_run_goes_on_as_if_it_had_not_been():
    texts = ["Is there a fight?", "Is it a nice day?", "Is there a fire?"]
    whole = Scripted(*texts)
    best, steps = taught(whole, 3)
    told: list = []
    again = Scripted(*texts[1:])
    resumed, tried = taught(again, 3, known=steps[:2], done=told.append)
    assert (resumed, tried) == (best, steps)
    assert told == steps[2:]
    assert again.seen == whole.seen[1:]
    assert [Step.from_json(step.to_json()) for step in steps] == steps


def test_a_class_without_a_video():
    with pytest.raises(DataError, match="split validation needs a normal and an anomalous"):
        learn(
            START,
            TRAINING,
            Labelled(("a",), (True,)),
            Scripted().judge,
            Scripted().write,
            steps=1,
            seed=0,
        )


@pytest.mark.parametrize(
    ("text", "questions"),
    [
        (
            "1. Does it burn?\n2) Who falls down?\n* Is it dark?",
            ["Does it burn?", "Who falls down?", "Is it dark?"],
        ),
        ('"Is it a fire?"\n**Is it a fall?**', ["Is it a fire?", "Is it a fall?"]),
        ("Does it burn? Yes.\nA statement.\nWhy?", []),
        ("Is <|im_end|> there?\nIs {questions} there?", []),
        (
            "\n".join(f"Is it number {n}?" for n in range(9)),
            [f"Is it number {n}?" for n in range(5)],
        ),
        ("Is it so?\nIs it so?\n" + "x" * 300 + "?", ["Is it so?"]),
    ],
)  # fmt: skip
def test_which_lines_are_questions(text: str, questions: list[str]):
    assert list(read_questions(text)) == questions


@given(st.text(max_size=300))
def test_whatever_is_written_gives_questions_that_can_be_asked(text: str):
    found = read_questions(text)
    assert len(found) <= 5
    if found:
        asked = Questions(**{**START.model_dump(), "questions": found})
        assert "{questions}" not in asked.text


def learn_words(tmp_path: Path, *more: str) -> list[str]:
    """learn-questions with the demo's model on frames of noise."""
    files = {}
    for name in ("n", "a", "vn", "va"):
        random = np.random.default_rng(len(files))
        arrays = {
            "frames": random.integers(0, 256, (1, 8, 56, 56, 3), np.uint8),
            "segments": np.array([[0, 48]]),
            "indices": np.arange(8)[None],
        }
        given = {"video": name, "view": "video", "frames_per_segment": 8, "segment_length": 48}
        given |= {"size": [56, 56], "resize": "x", "fps": 30.0, "n_frames": 48, "decoder": "pyav"}
        files[name] = tmp_path / f"{name}.h5"
        if not files[name].exists():
            hdf5.write(files[name], "frames", arrays, given)
    return [
        *("learn-questions", "--start", str(ROOT / "config/questions-vera-demo.yaml")),
        *("--training", str(files["n"]), str(files["a"])),
        *("--training-labels", "normal", "anomaly", "--validation-labels", "normal", "anomaly"),
        *("--validation", str(files["vn"]), str(files["va"]), "--model", "demo"),
        *("--model-name", "demo", "--revision=", "--commit-file", str(tmp_path / "commit")),
        *("--dtype", "float32", "--device", "cpu", "--batch-size", "1", "--threads", "1"),
        *("--resident", "no", "--idle-timeout", "1", "--max-tokens", "8", "--seed", "0"),
        *("--journal", str(tmp_path / "j.jsonl"), "--out", str(tmp_path / "q.yaml")),
        *("--table", str(tmp_path / "q.tsv"), *more),
    ]


def test_the_command_with_a_real_model_and_after_an_interruption(tmp_path: Path, capsys):
    assert main(learn_words(tmp_path, "--steps=2", "--key=a")) == 0
    names = ("q.yaml", "q.tsv", "j.jsonl")
    whole = [(tmp_path / name).read_bytes() for name in names]
    learnt = parse(Questions, yaml.safe_load(whole[0]), "q")
    assert learnt.answers == ("no", "yes")
    lines = whole[2].splitlines(keepends=True)
    assert len(lines) == 4
    (tmp_path / "j.jsonl").write_bytes(b"".join(lines[:2]) + b'{"torn')
    capsys.readouterr()
    assert main(learn_words(tmp_path, "--steps=2", "--key=a")) == 0
    assert [(tmp_path / name).read_bytes() for name in names] == whole
    said = capsys.readouterr().out
    assert "step 0" not in said
    assert "step 2" in said
    assert main(learn_words(tmp_path, "--steps=2", "--key=b")) == 0
    assert "step 0" in capsys.readouterr().out  # another key: the tries say nothing


def test_labels_that_do_not_fit(tmp_path: Path, capsys):
    words = learn_words(tmp_path, "--steps=1", "--key=a")
    at = words.index("--training-labels")
    assert main([*words[: at + 1], "normal", *words[at + 3 :]]) == 2
    assert "--training-labels has 1 values, --training 2" in capsys.readouterr().err


def test_learning_needs_both_classes(config: dict, tmp_path: Path):
    config["methods"]["v"]["learn"] = {"steps": 2}
    study = Study.load(config, [])
    assert study.costed["v"]["needs"]["training"] == "questions"
    lines = Path(config["videos"]).read_text().splitlines()
    kept = [line for line in lines if "\tvalidation\tanomaly" not in line]
    (tmp_path / "v.tsv").write_text("\n".join(kept) + "\n")
    with pytest.raises(SheetError, match="split validation has no video labelled anomaly"):
        Study.load({**config, "videos": str(tmp_path / "v.tsv")}, [])
