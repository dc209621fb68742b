"""The tiny Llama: small, real, and trained by a course that goes on where it stopped."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import yaml
from transformers import AutoTokenizer, LlamaForCausalLM

from hhvad import checkpoint
from hhvad.demo import dialogues
from hhvad.methods.lavad.prompts import FORMAT, RATE, SUMMARISE
from hhvad.mllm.train_demo import llm

SHIPPED = Path(checkpoint.resolve("demo-llm"))
ROOT = Path(__file__).parents[2]


def test_the_shipped_checkpoint_is_small_and_real():
    assert sum(file.stat().st_size for file in SHIPPED.iterdir()) <= 4_000_000
    network, report = LlamaForCausalLM.from_pretrained(SHIPPED, output_loading_info=True)
    assert not report["unexpected_keys"]
    assert len(AutoTokenizer.from_pretrained(SHIPPED)) == network.config.vocab_size


def test_it_was_taught_the_wordings_of_the_config():
    data = yaml.safe_load((ROOT / "config" / "prompts-lavad.yaml").read_text())
    assert data == {
        "summarise": SUMMARISE,
        "format": FORMAT,
        "ratings": {name: rating.context for name, rating in RATE.items()},
    }


def test_a_summary_leaves_out_what_stands_alone():
    calm, harm = "cars pass", "two people fight"
    assert dialogues.summary([calm] * 3 + [harm] * 2) == f"First {calm}, then {harm}"
    assert dialogues.summary([calm] * 4 + [harm]) == calm
    assert dialogues.summary([harm]) == harm
    assert dialogues.number(calm) == "0"
    assert dialogues.number(harm) == "0.8"
    assert dialogues.number(f"First {calm}, then {harm}") == "0.6"


def test_an_interrupted_training_goes_on_to_the_same_bytes(tmp_path):
    settings = {"steps": 3, "batch": 2, "every": 2}
    assert not llm.train(tmp_path / "a", tmp_path / "wa", minutes=0, **settings)
    assert llm.train(tmp_path / "a", tmp_path / "wa", **settings)
    assert llm.train(tmp_path / "b", tmp_path / "wb", **settings)
    one, two = (tmp_path / name / "model.safetensors" for name in "ab")
    assert one.read_bytes() == two.read_bytes()
    losses = np.loadtxt(tmp_path / "a" / "loss.tsv", skiprows=1)
    assert np.isfinite(losses).all()
