"""The tiny CLIP: small, real, and trained by a course that goes on where it stopped."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from transformers import AutoTokenizer, CLIPModel

from hhvad import checkpoint
from hhvad.demo import pictures
from hhvad.demo.pictures import Text
from hhvad.mllm.train_demo import clip

SHIPPED = Path(checkpoint.resolve("demo-clip"))


def test_the_shipped_checkpoint_is_small_and_real():
    assert sum(file.stat().st_size for file in SHIPPED.iterdir()) <= 4_000_000
    network, report = CLIPModel.from_pretrained(SHIPPED, output_loading_info=True)
    assert not report["unexpected_keys"]
    words = AutoTokenizer.from_pretrained(SHIPPED)
    assert len(words) == network.config.text_config.vocab_size
    assert words("cars pass")["input_ids"][-1] == network.config.text_config.eos_token_id


def test_a_text_is_true_of_frames_by_what_they_show():
    item = next(
        one
        for one in (pictures.shot(0, i) for i in range(50))
        if None in one.seen and any(n is not None for n in one.seen)
    )
    calm = next(f for f in range(pictures.FRAMES) if item.seen[f] is None)
    harm = next(f for f in range(pictures.FRAMES) if item.seen[f] is not None)
    life = Text("", frozenset(item.scene.kinds[:1]), frozenset())
    event = Text("", frozenset(), frozenset([item.kind(harm)]))
    both = Text("", life.normal, event.abnormal)
    assert [pictures.true(t, item, [calm]) for t in (life, event, both)] == [True, False, False]
    assert [pictures.true(t, item, [harm]) for t in (life, event, both)] == [False, True, False]
    wanted = [False, False, True]
    assert [pictures.true(t, item, [calm, harm]) for t in (life, event, both)] == wanted


def test_an_interrupted_training_goes_on_to_the_same_bytes(tmp_path):
    settings = {"steps": 3, "batch": 2, "shots": 4, "every": 2}
    assert not clip.train(tmp_path / "a", tmp_path / "wa", minutes=0, **settings)
    assert clip.train(tmp_path / "a", tmp_path / "wa", **settings)
    assert clip.train(tmp_path / "b", tmp_path / "wb", **settings)
    one, two = (tmp_path / name / "model.safetensors" for name in "ab")
    assert one.read_bytes() == two.read_bytes()
    losses = np.loadtxt(tmp_path / "a" / "loss.tsv", skiprows=1)
    assert np.isfinite(losses).all()
