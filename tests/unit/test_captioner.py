"""BLIP-2's captions against transformers' own generate."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tiny_checkpoints
import torch
import transformers

from hhvad.errors import ModelError
from hhvad.mllm.captioner import Captioner
from hhvad.mllm.check import check_model
from hhvad.mllm.head import plain
from hhvad.mllm.load import load

FRAMES = np.random.default_rng(0).integers(0, 256, (3, 1, 16, 16, 3), np.uint8)
LIMIT = 6
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


@pytest.fixture(scope="module", params=["opt", "t5"])
def folder(request, tmp_path_factory) -> Path:
    return tiny_checkpoints.blip2(tmp_path_factory.mktemp(request.param) / "m", request.param)


def loaded(folder: Path) -> Captioner:
    found = load(str(folder), device="cpu")
    assert isinstance(found, Captioner)
    return found


def reference(folder: Path, picture, prompt: str) -> list[int]:
    """Tokens of one caption as the class itself writes them."""
    model = transformers.Blip2ForConditionalGeneration.from_pretrained(folder).eval()
    words = transformers.AutoTokenizer.from_pretrained(folder)
    pixels = torch.tensor(picture).permute(2, 0, 1).float() / 255
    pixels = (pixels - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]
    inputs = {"pixel_values": pixels[None]}
    start = words.convert_tokens_to_ids(["<image>"]) * 5
    start += words(prompt)["input_ids"] if prompt else [2]
    if prompt:  # without a prompt, it makes the same by itself
        inputs["input_ids"] = torch.tensor([start])
    with torch.no_grad():
        out = model.generate(
            **inputs, do_sample=False, max_new_tokens=LIMIT, eos_token_id=2, pad_token_id=0
        )[0].tolist()
    return out[1:] if model.config.text_config.is_encoder_decoder else out[len(start) :]


@pytest.mark.parametrize("prompt", ["", "a fire"])
def test_captions_equal_plain_generation(folder, prompt):
    words = transformers.AutoTokenizer.from_pretrained(folder)
    found = loaded(folder).generate(FRAMES, prompt, max_tokens=LIMIT, batch_size=2)
    for answer, (picture,) in zip(found, FRAMES, strict=True):
        ids = reference(folder, picture, prompt)
        ended = 2 in ids
        ids = ids[: ids.index(2)] if ended else ids
        assert answer.text == plain(words.decode(ids, skip_special_tokens=True))
        assert (answer.tokens, answer.cut) == (len(ids), not ended)


def test_what_it_cannot_be_asked(folder):
    captioner = loaded(folder)
    twice = np.repeat(FRAMES, 2, axis=1)
    for frames, system, message in (
        (twice, "", "one picture at once, not 2"),
        (FRAMES, "Be brief.", "no system message"),
        (FRAMES[:, :, :8], "", "frames are 8x16, the model wants 16x16"),
    ):
        with pytest.raises(ModelError, match=message):
            captioner.generate(frames, "", system=system, max_tokens=2, batch_size=1)
    assert captioner.text("a", 1, (16, 16)) == "<image>x5a"


def test_special_tokens_in_a_prompt_are_text(folder):
    captioner = loaded(folder)
    visual = captioner.model.config.image_token_index
    assert captioner._start("an <image> of").count(visual) == 5


def test_a_context_that_overflows(tmp_path):
    captioner = loaded(tiny_checkpoints.blip2(tmp_path / "m"))
    with pytest.raises(ModelError, match="take 66 tokens, the model's context holds 64"):
        captioner.generate(FRAMES, "", max_tokens=60, batch_size=1)


def test_a_half_precision_captioner_keeps_its_q_former(tmp_path):
    folder = tiny_checkpoints.blip2(tmp_path / "m", dtype="float16")
    found = load(str(folder), device="cpu", dtype="float16")
    assert isinstance(found, Captioner)
    assert next(found.model.qformer.parameters()).dtype == torch.float32
    assert len(found.generate(FRAMES, "", max_tokens=2, batch_size=3)) == 3


def test_it_is_checked_before_the_first_job(folder):
    given = {"dtype": "auto", "device": "cpu", "prompts": [""], "system": ""}
    found = check_model(str(folder), frames=1, size=(16, 16), **given)
    assert found == {"architecture": "blip-2"}
    with pytest.raises(ModelError, match="set frames_shown to 1"):
        check_model(str(folder), frames=8, size=(16, 16), **given)
