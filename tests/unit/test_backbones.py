"""The registry, preprocessing settings, and the adapter that docs/adapters.md shows."""

from __future__ import annotations

import json
import re
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest
import tiny_checkpoints
import torch
from transformers import (
    InternVLForConditionalGeneration,
    LlavaConfig,
    LlavaForConditionalGeneration,
)

from hhvad.errors import ModelError
from hhvad.mllm.backbones import backbone as backbones
from hhvad.mllm.backbones.backbone import BACKBONES, Pixels, find
from hhvad.mllm.engine import Engine

DOCS = Path(__file__).resolve().parents[2] / "docs" / "adapters.md"


def test_every_shipped_adapter_is_found():
    for model_type in BACKBONES:
        adapter = find(model_type)
        assert issubclass(adapter, backbones.Backbone)
        assert not adapter.__abstractmethods__


def test_unknown_architecture_lists_the_known_and_the_page():
    with pytest.raises(ModelError) as caught:
        find("blip_2")
    for word in ("'blip_2'", *BACKBONES, "docs/adapters.md"):
        assert word in str(caught.value)
    with pytest.raises(ModelError, match="ends in -hf"):
        find("internvl_chat")


# Pixels


def read(folder: Path, **files: object) -> Pixels:
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    return Pixels.read(folder)


STD = [0.229, 0.224, 0.225]
STATS = {"image_mean": [0.1, 0.2, 0.3], "image_std": [0.4, 0.5, 0.6]}


@pytest.mark.parametrize(
    "files",
    [
        {"preprocessor_config": STATS | {"size": {"height": 56, "width": 28}}},
        {"processor_config": {"image_processor": STATS | {"size": {"height": 56, "width": 28}}}},
        {"processor_config": {"video_processor": STATS | {"size": {"height": 56, "width": 28}}}},
        {
            "processor_config": {"processor_class": "P"},
            "video_preprocessor_config": STATS | {"size": {"height": 56, "width": 28}},
        },
    ],
)
def test_preprocessing_settings_in_all_their_places(tmp_path, files):
    assert read(tmp_path, **files) == Pixels((0.1, 0.2, 0.3), (0.4, 0.5, 0.6), 1 / 255, (56, 28))


@pytest.mark.parametrize(
    ("size", "expected"),
    [(448, (448, 448)), ({"shortest_edge": 3136, "longest_edge": 9}, None), (None, None)],
)
def test_size_variants(tmp_path, size, expected):
    assert read(tmp_path, preprocessor_config=STATS | {"size": size}).size == expected


def test_switches_of_preprocessing(tmp_path):
    plain = read(tmp_path, preprocessor_config={"do_normalize": False, "do_rescale": False})
    assert plain == Pixels((0, 0, 0), (1, 1, 1), 1.0, None)


def test_missing_settings(tmp_path):
    with pytest.raises(ModelError, match=r"preprocessor_config\.json is absent"):
        Pixels.read(tmp_path)
    with pytest.raises(ModelError, match=r"preprocessor_config\.json: image_std is absent"):
        read(tmp_path, preprocessor_config={"image_mean": [0, 0, 0]})
    (tmp_path / "preprocessor_config.json").write_text("[]")
    with pytest.raises(ModelError, match="not a JSON object"):
        Pixels.read(tmp_path)


def test_normalisation_by_hand():
    pixels = Pixels((0.5, 0.25, 0.0), (0.5, 0.25, 2.0), 1 / 255, None)
    frames = torch.tensor([0, 51, 255], dtype=torch.uint8).expand(1, 2, 4, 5, 3)
    values = pixels(frames, torch.float32)
    assert values.shape == (1, 2, 3, 4, 5)
    torch.testing.assert_close(values[0, 1, :, 3, 4], torch.tensor([-1.0, -0.2, 0.5]))
    assert pixels(frames, torch.bfloat16).dtype == torch.bfloat16


# The documented adapter


@pytest.fixture
def documented(tmp_path, monkeypatch) -> str:
    """The example of docs/adapters.md as a module of its own, offered as an entry point."""
    (code,) = re.findall(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "documented_adapter.py").write_text(code)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "documented_adapter", raising=False)
    offered = EntryPoint("llava", "documented_adapter:Llava", "hhvad.backbones")
    monkeypatch.setattr(backbones, "entry_points", lambda group: [offered])
    return code


def test_documented_adapter_equals_a_plain_full_pass(documented, tmp_path):
    assert len(documented.splitlines()) < 60
    folder = tmp_path / "llava"
    words = tiny_checkpoints.tokenizer(["<image>"], tiny_checkpoints.chatml("<video>"))
    config = LlavaConfig(
        image_token_index=words.convert_tokens_to_ids("<image>"),
        vision_config={
            "model_type": "clip_vision_model",
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": 16,
            "patch_size": 8,
        },
        text_config=tiny_checkpoints.TEXT_CONFIG
        | {"model_type": "llama", "vocab_size": len(words), "num_hidden_layers": 2},
    )
    size = {"height": 16, "width": 16}
    model = LlavaForConditionalGeneration(config)
    tiny_checkpoints.save(model, words, folder, size=size)
    frames = np.random.default_rng(0).integers(0, 256, (2, 2, 16, 16, 3), dtype=np.uint8)
    (found,) = Engine.load(str(folder), device="cpu").capture(frames, ["a fire"])

    pixels = torch.tensor(frames).permute(0, 1, 4, 2, 3).float() / 255
    mean, std = (torch.tensor(v)[:, None, None] for v in ([0.485, 0.456, 0.406], STD))
    shown = "\n".join(["<image>" * 4] * 2)
    text = f"<|im_start|>user\n{shown}a fire<|im_end|>\n<|im_start|>assistant\n"
    ids = words(text, return_tensors="pt").input_ids
    kept: list[torch.Tensor] = []
    for layer in model.model.language_model.layers:
        layer.self_attn.o_proj.register_forward_pre_hook(lambda _, args: kept.append(args[0]))
    for segment, got in zip((pixels - mean) / std, found, strict=True):
        kept.clear()
        with torch.no_grad():
            model(input_ids=ids, pixel_values=segment)
        want = torch.stack([x[0, -1] for x in kept]).reshape(2, 4, 12).numpy()
        np.testing.assert_allclose(got, want, atol=1e-5, rtol=0)


def test_internvl_tokens_are_those_that_the_model_makes(tmp_path):
    folder = tiny_checkpoints.internvl(tmp_path)
    engine = Engine.load(str(folder), device="cpu")
    model = InternVLForConditionalGeneration.from_pretrained(folder)
    made = model.model.get_image_features(torch.zeros(1, 3, 32, 32)).pooler_output
    assert made.shape[1] == engine.info.tokens_per_frame == model.config.image_seq_length
