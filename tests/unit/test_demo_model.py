"""The tiny model: a real checkpoint folder within its limits, and a training that goes on."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from transformers import AutoTokenizer, InternVLForConditionalGeneration

from hhvad import checkpoint
from hhvad.cli import main
from hhvad.demo import lessons
from hhvad.errors import ConfigError
from hhvad.mllm.engine import Engine
from hhvad.mllm.train_demo import internvl

SHIPPED = Path(checkpoint.resolve("demo"))


@pytest.fixture(scope="module")
def fresh(tmp_path_factory):
    return internvl.build(tmp_path_factory.mktemp("fresh") / "model", seed=3)


@pytest.fixture(scope="module", params=["fresh", "shipped"])
def folder(request, fresh):
    return fresh if request.param == "fresh" else SHIPPED


def numbers(folder):
    with safe_open(folder / "model.safetensors", "pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def test_a_checkpoint_is_small_and_real(folder):
    tensors = numbers(folder)
    assert sum(one.numel() for one in tensors.values()) <= 3_000_000
    assert all(torch.isfinite(one).all() for one in tensors.values())
    assert sum(file.stat().st_size for file in folder.iterdir()) <= 8_000_000
    config = json.loads((folder / "config.json").read_text())
    assert config["architectures"] == ["InternVLForConditionalGeneration"]
    assert config["text_config"]["num_hidden_layers"] >= 6
    assert config["text_config"]["num_attention_heads"] >= 8


def test_a_checkpoint_loads_as_any_other(folder):
    network, report = InternVLForConditionalGeneration.from_pretrained(
        folder, output_loading_info=True
    )
    assert not [name for name in report["missing_keys"] if not name.startswith("lm_head")]
    assert not report["unexpected_keys"]
    words = AutoTokenizer.from_pretrained(folder)
    assert len(words) == network.config.text_config.vocab_size
    assert words.convert_tokens_to_ids("<IMG_CONTEXT>") == network.config.image_token_id


def test_the_text_is_laid_out_as_internvl3_does(folder):
    engine = Engine.load(str(folder), dtype="float32", device="cpu")
    assert engine.text("Why?", 2) == (
        "<|im_start|>user\nFrame1: <img><IMG_CONTEXT>x4</img>\nFrame2: <img><IMG_CONTEXT>x4</img>\n"
        "Why?<|im_end|>\n<|im_start|>assistant\n"
    )
    frames = np.zeros((1, 2, 56, 56, 3), np.uint8)
    (features,) = engine.capture(frames, ["Why?"])
    assert features.shape == (1, 8, 8, 16)


def test_same_seed_same_bytes(fresh, tmp_path):
    again = internvl.build(tmp_path / "model", seed=3)
    assert {f.name for f in again.iterdir()} == {f.name for f in fresh.iterdir()}
    for file in again.iterdir():
        assert file.read_bytes() == (fresh / file.name).read_bytes(), file.name


def test_the_shipped_architecture_is_the_one_that_build_writes(fresh):
    def content(path):
        data = json.loads(path.read_text())
        for part in ("text_config", "vision_config"):  # written by a later save alone
            data.get(part, {}).pop("dtype", None)
        return data

    for name in ("config.json", "tokenizer.json", "preprocessor_config.json"):
        assert content(SHIPPED / name) == content(fresh / name)


WORDS = AutoTokenizer.from_pretrained(SHIPPED)


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=60))
@settings(max_examples=100, deadline=None, derandomize=True)
def test_the_tokenizer_reads_any_text(text):
    ids = WORDS(text, add_special_tokens=False)["input_ids"]
    assert WORDS.decode(ids, clean_up_tokenization_spaces=False) == text


def test_questions_and_answers_are_few_tokens():
    for text in lessons.corpus():
        assert len(WORDS(text)["input_ids"]) <= max(4, 0.6 * len(text)), text


def test_a_teachers_row_is_what_the_engine_asks(fresh):
    """Packed questions have the ids, positions and last hidden state of each asked alone."""
    teacher = internvl._Teacher(fresh)
    network = InternVLForConditionalGeneration.from_pretrained(fresh).eval()
    rng = np.random.default_rng(0)
    clips = rng.integers(0, 256, (1, 8, 56, 56, 3), dtype=np.uint8)
    asked = [("Is it day or night?", "day"), ("what happens here?", "normal: cars pass")]
    batch = teacher.batch(clips, [asked])
    engine = Engine.load(str(fresh), dtype="float32", device="cpu")
    total, count = 0.0, 0
    for question, reply in asked:
        text = engine._text(question, 8, 56, 56)
        start = WORDS(text, add_special_tokens=False)["input_ids"]
        said = [*WORDS(reply, add_special_tokens=False)["input_ids"], WORDS.eos_token_id]
        ids = torch.tensor([start + said])
        with torch.no_grad():
            logits = network(input_ids=ids, pixel_values=batch["pixels"]).logits[0]
        wanted = torch.nn.functional.cross_entropy(
            logits[len(start) - 1 : -1], torch.tensor(said), reduction="sum"
        )
        total, count = total + float(wanted), count + len(said)
    with torch.no_grad():
        loss, visual, none = internvl._answered(network, batch, rested=False)
        eager, _, busy = internvl._answered(network, batch, rested=True)
    assert float(loss) == pytest.approx(total / count, rel=1e-4)
    assert float(eager) == pytest.approx(total / count, rel=1e-4)
    # Untrained, a token attends to some hundred alike: the first one gets about a hundredth.
    assert none == 0
    assert 0.97 < float(busy) < 1
    assert visual.shape[-1] == 128


def test_an_interrupted_training_goes_on_to_the_same_weights(tmp_path):
    settings = {"steps": 3, "look": 1, "quiet": 1, "batch": 2, "lessons": 4, "every": 2}
    assert not internvl.train(tmp_path / "a", tmp_path / "wa", minutes=0, **settings)
    (tmp_path / "wb").mkdir()
    for name in ("clips.npy", "drawn.json"):  # drawn once for both: drawing takes a process
        shutil.copy(tmp_path / "wa" / name, tmp_path / "wb" / name)
    assert internvl.train(tmp_path / "a", tmp_path / "wa", **settings)
    assert internvl.train(tmp_path / "b", tmp_path / "wb", **settings)
    assert all(
        torch.equal(one, two)
        for one, two in zip(
            numbers(tmp_path / "a").values(), numbers(tmp_path / "b").values(), strict=True
        )
    )
    assert json.loads((tmp_path / "a" / "training.json").read_text())["steps_done"] == 3
    with pytest.raises(ConfigError, match="look 1, not 2"):
        internvl.train(tmp_path / "a", tmp_path / "wa", **{**settings, "look": 2})


def test_train_demo_model_refuses_other_settings(tmp_path, capsys):
    (tmp_path / "settings.json").write_text('{"steps": 5}')
    command = ["train-demo-model", "--out", str(tmp_path / "m"), "--work", str(tmp_path)]
    assert main(command) == 2
    assert "steps 5, not 3100" in capsys.readouterr().err
