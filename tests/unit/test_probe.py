"""Probe-VAD: its questions, its scores by hand, and its model against plain forward passes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import transformers
from hypothesis import given
from hypothesis import strategies as st
from sklearn.isotonic import isotonic_regression
from test_capture import FAMILIES, Family, make
from test_resident import (
    fake,  # noqa: F401  (fixtures)
    runtime,  # noqa: F401
    write_frames,
)

from hhvad.artifacts import hdf5, scores
from hhvad.cli import main
from hhvad.errors import ConfigError, DataError, ModelError
from hhvad.localization.locator import smooth
from hhvad.methods.probe.score import score
from hhvad.methods.probe.settings import Probe
from hhvad.mllm.engine import Engine
from hhvad.study import _method

PROMPTS = ["a fire", "Is there anything abnormal?"]
ANSWERS = ["no", "yes, a robbery", "a fire"]
BOUNDS = np.array([[0, 48], [48, 96], [96, 120]])


# Settings


def settings(**keys) -> Probe:
    return _method("mine", {"kind": "probe", "model": "m", **keys}, "config.yaml")


def test_a_question_per_threshold():
    found = settings(question="Is it at least {threshold}?", thresholds=[0.1, 0.5, 1])
    wanted = ("Is it at least 0.1?", "Is it at least 0.5?", "Is it at least 1?")
    assert found.questions == wanted
    assert len(settings().questions) == 1
    assert settings(question="Is {this} bad?").questions == ("Is {this} bad?",)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"question": "Is it bad?", "thresholds": [0.1, 0.2]}, "reads the same"),
        ({"thresholds": [0.5, 0.5]}, "reads the same"),
        ({"thresholds": []}, "thresholds"),
        ({"thresholds": [1.5]}, "thresholds"),
        ({"answers": ["Yes", "Yes"]}, "two different ones"),
        ({"sigma": 0}, "sigma"),
    ],
)
def test_a_mistake_names_its_key(keys, message):
    with pytest.raises(ConfigError, match=f"config.yaml: methods.mine.*{message}"):
        settings(**keys)


# Scores


def test_scores_by_hand():
    logs = np.log([[[0.2, 0.6], [0.3, 0.1]], [[0.4, 0.4], [0.4, 0.4]], [[0.1, 0.9], [1, 1e-9]]])
    found = score(logs, BOUNDS, None)
    np.testing.assert_allclose(found, [(0.75 + 0.25) / 2, 0.5, 0.45], atol=1e-8)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=10))
def test_making_probabilities_fall_leaves_the_mean(values):
    pooled = isotonic_regression(np.array(values), increasing=False)
    assert pooled.mean() == pytest.approx(np.mean(values), abs=1e-12)


def test_smoothing_restarts_after_a_gap():
    logs = np.log([[[0.5, 0.5]], [[0.1, 0.9]], [[0.9, 0.1]]])
    raw = score(logs, BOUNDS, None)
    np.testing.assert_array_equal(score(logs, BOUNDS, 2.0), smooth(raw, 2.0))
    apart = np.array([[0, 48], [48, 96], [144, 168]])
    np.testing.assert_array_equal(score(logs, apart, 2.0)[2], raw[2])


@pytest.mark.parametrize(
    "logs", [np.zeros((3, 2)), np.zeros((3, 1, 3)), np.full((3, 1, 2), np.nan)]
)
def test_what_is_no_pair_of_answers_is_refused(logs):
    with pytest.raises(DataError, match="finite numbers are needed"):
        score(logs, BOUNDS, None)


# The model


@pytest.fixture(scope="module", params=FAMILIES)
def family(request, tmp_path_factory) -> Family:
    return make(request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module")
def simple(tmp_path_factory) -> Family:
    return make("internvl", tmp_path_factory.mktemp("simple"))


def plain(family: Family, model, segment: np.ndarray, prompt: str, answer: str) -> float:
    """The log-probability of an answer by one full pass over prompt and answer."""
    words = transformers.AutoTokenizer.from_pretrained(family.folder)
    inputs = family.inputs(segment, prompt)
    said = words(answer, return_tensors="pt", add_special_tokens=False).input_ids
    asked = inputs["input_ids"].shape[1]
    inputs["input_ids"] = torch.cat([inputs["input_ids"], said], dim=1)
    if "mm_token_type_ids" in inputs:
        kinds = inputs["mm_token_type_ids"]
        inputs["mm_token_type_ids"] = torch.cat([kinds, torch.zeros_like(said).int()], dim=1)
    with torch.no_grad():
        logits = model(**inputs).logits[0, asked - 1 : -1]
    logs = logits.double().log_softmax(dim=-1)
    return float(logs[torch.arange(len(said[0])), said[0]].sum())


def test_log_probabilities_equal_a_plain_full_pass(family):
    words = transformers.AutoTokenizer.from_pretrained(family.folder)
    lengths = {len(words(text, add_special_tokens=False).input_ids) for text in ANSWERS}
    assert max(lengths) > 1
    engine, model = Engine.load(str(family.folder), device="cpu"), family.model().eval()
    found = engine.weigh(family.frames, PROMPTS, ANSWERS, batch_size=2)
    assert found.shape == (len(family.frames), len(PROMPTS), len(ANSWERS))
    for s, segment in enumerate(family.frames):
        for p, prompt in enumerate(PROMPTS):
            for a, answer in enumerate(ANSWERS):
                want = plain(family, model, segment, prompt, answer)
                assert found[s, p, a] == pytest.approx(want, abs=1e-4)


def test_what_else_is_asked_changes_no_byte(simple):
    engine = Engine.load(str(simple.folder), device="cpu")
    both = engine.weigh(simple.frames, PROMPTS, ANSWERS, batch_size=2)
    for p, prompt in enumerate(PROMPTS):
        alone = engine.weigh(simple.frames, [prompt], ANSWERS[1:2], batch_size=2)
        np.testing.assert_array_equal(alone[:, 0, 0], both[:, p, 1])


def test_what_cannot_be_weighed_is_refused(simple):
    engine = Engine.load(str(simple.folder), device="cpu")
    with pytest.raises(ModelError, match="has no token"):
        engine.weigh(simple.frames, PROMPTS, [""], batch_size=2)
    with pytest.raises(ModelError, match="the model's context holds"):
        engine.weigh(simple.frames, PROMPTS, ["a fire" * 100_000], batch_size=2)


def test_the_commands_give_the_same_bytes_with_the_resident_and_without(
    runtime,  # noqa: F811
    fake,  # noqa: F811
    simple,
    tmp_path,
):
    fake(real=True)
    frames = write_frames(tmp_path / "v.h5")
    command = [
        "answer-questions", "--frames", str(frames), "--model", str(simple.folder),
        "--model-name", "tiny", "--revision", "", "--commit-file", "none", "--dtype", "auto",
        "--device", "cpu", "--batch-size", "2", "--threads", "1", "--idle-timeout", "30",
        "--question=a fire", "--question=-", "--answer=no", "--answer=yes", "--system", "",
    ]  # fmt: skip
    for resident in ("yes", "no"):
        out = str(tmp_path / f"{resident}.h5")
        assert main([*command, "--resident", resident, "--out", out]) == 0
    assert (tmp_path / "yes.h5").read_bytes() == (tmp_path / "no.h5").read_bytes()
    found = hdf5.read(tmp_path / "no.h5", "logprobs")
    assert found["logprobs"].shape == (3, 2, 2)
    assert (found.provenance["prompts"], found.provenance["answers"]) == (
        ["a fire", "-"],
        ["no", "yes"],
    )
    out = str(tmp_path / "scores.tsv")
    assert main(["score-probe", "--answers", str(tmp_path / "no.h5"), "--out", out]) == 0
    bounds, (values,) = scores.read_video(out, ("score",))
    np.testing.assert_array_equal(bounds, found["segments"])
    np.testing.assert_allclose(values, score(found["logprobs"], bounds, None), atol=1e-6)
