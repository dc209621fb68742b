"""Checkpoints in the InternVL2 layout: the same numbers under transformers' names, or an error."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from tiny_checkpoints import tokenizer

from hhvad.checkpoint import resolve
from hhvad.cli import main
from hhvad.errors import ConfigError, ModelError
from hhvad.mllm.convert import IMAGE_TOKEN, chat_template, convert
from hhvad.mllm.load import load


@pytest.fixture
def internlm2(shared: Path, tmp_path: Path) -> Path:
    """A copy that may be changed."""
    folder = tmp_path / "source"
    shutil.copytree(shared / "methods" / "internvl2_dev", folder, copy_function=shutil.copyfile)
    folder.chmod(0o755)
    return folder


def qwen2(folder: Path) -> Path:
    """The demo's model in the InternVL2 layout: its names turned back, its qkv fused."""
    demo = Path(resolve("demo"))
    old = load_file(demo / "model.safetensors")
    new: dict[str, torch.Tensor] = {}
    names = {"linear_1": "mlp1.1", "linear_2": "mlp1.3", "layer_norm": "mlp1.0"}
    inner = {
        "attention.projection_layer": "attn.proj",
        "layernorm_before": "norm1",
        "layernorm_after": "norm2",
        "lambda_1": "ls1",
        "lambda_2": "ls2",
    }
    top = {
        "patch_embeddings.projection": "patch_embedding",
        "position_embeddings": "position_embedding",
        "cls_token": "class_embedding",
    }
    for name, tensor in old.items():
        if name.startswith("multi_modal_projector"):
            _, part, kind = name.split(".")
            new[f"{names[part]}.{kind}"] = tensor
        elif name.startswith("vision_tower"):
            if ".k_proj" in name or ".v_proj" in name:
                continue
            theirs = name.replace("vision_tower", "vision_model").replace(".layer.", ".layers.")
            for ours, their in (inner | top).items():
                theirs = theirs.replace(ours, their)
            if ".q_proj" in name:
                tensor = torch.cat([old[name.replace("q_proj", f"{c}_proj")] for c in "qkv"])
                theirs = theirs.replace("attention.q_proj", "attn.qkv")
            new[theirs] = tensor
        else:
            new[name] = tensor
    config = json.loads((demo / "config.json").read_text())
    text, vision = config["text_config"], config["vision_config"]
    text["rope_theta"] = text.pop("rope_parameters")["rope_theta"]
    vision |= {"image_size": vision["image_size"][0], "patch_size": vision["patch_size"][0]}
    vision["qkv_bias"] = False
    folder.mkdir()
    save_file(new, folder / "model.safetensors")
    given = {
        "model_type": "internvl_chat",
        "ps_version": "v2",
        "select_layer": -1,
        "downsample_ratio": config["downsample_ratio"],
        "llm_config": text,
        "vision_config": vision,
    }
    (folder / "config.json").write_text(json.dumps(given))
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(demo / name, folder / name)
    return folder


def change(folder: Path, **values: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_internlm2_gives_the_official_numbers(shared: Path, tmp_path: Path) -> None:
    folder = shared / "methods" / "internvl2_dev"
    told = ["--image-token-id", "90"]
    assert main(["convert-checkpoint", str(folder), str(tmp_path / "hf"), *told]) == 0
    model, report = transformers.InternVLForConditionalGeneration.from_pretrained(
        tmp_path / "hf", output_loading_info=True
    )
    assert not any(report.values())
    wanted = np.load(folder / "expected.npz")
    pixels = torch.tensor(wanted["pixels"])
    with torch.inference_mode():
        seen = model(input_ids=torch.tensor(wanted["ids"]), pixel_values=pixels).logits
        read = model(input_ids=torch.tensor(wanted["text_ids"])).logits
        features = model.model.get_image_features(pixels).pooler_output
    np.testing.assert_allclose(seen, wanted["logits"], atol=1e-5, rtol=0)
    np.testing.assert_allclose(read, wanted["text_logits"], atol=1e-5, rtol=0)
    features = features.reshape(wanted["features"].shape)
    np.testing.assert_allclose(features, wanted["features"], atol=1e-6, rtol=0)


def test_qwen2_answers_as_the_model_that_it_was(tmp_path: Path) -> None:
    convert(qwen2(tmp_path / "old"), tmp_path / "hf")
    frames = np.random.default_rng(0).integers(0, 256, (1, 8, 56, 56, 3), dtype=np.uint8)
    said = [
        load(str(path), device="cpu").generate(
            frames, "what happens here?", system="", max_tokens=16, batch_size=1
        )
        for path in (tmp_path / "hf", resolve("demo"))
    ]
    assert said[0] == said[1]


def test_several_files_become_as_many(internlm2: Path, tmp_path: Path) -> None:
    path = internlm2 / "model.safetensors"
    tensors = load_file(path)
    names = sorted(tensors)
    path.unlink()
    for number, half in enumerate((names[:40], names[40:]), start=1):
        save_file({n: tensors[n] for n in half}, internlm2 / f"part-{number}.safetensors")
    convert(internlm2, tmp_path / "hf", image_token_id=90)
    index = json.loads((tmp_path / "hf" / "model.safetensors.index.json").read_text())
    assert len(set(index["weight_map"].values())) == 2
    transformers.InternVLForConditionalGeneration.from_pretrained(tmp_path / "hf")


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda t: t.pop("mlp1.0.bias"), "'mlp1.0.bias' is missing"),
        (lambda t: t.update(extra=torch.zeros(1)), "'extra' is unknown"),
        (lambda t: t.update(mlp1=t.pop("mlp1.0.bias")), "'mlp1' is unknown"),
        (lambda t: t.update({"mlp1.0.bias": torch.zeros(3)}), r"'mlp1.0.bias' has shape \[3\]"),
        (lambda t: t.update({"mlp1.0.bias": torch.zeros(256, dtype=torch.int8)}), "is I8; packed"),
        (lambda t: t.pop("language_model.output.weight"), "'language_model.output.weight' is mis"),
    ],
)
def test_other_tensors_are_refused_by_name(internlm2, tmp_path, harm, message) -> None:
    path = internlm2 / "model.safetensors"
    tensors = load_file(path)
    harm(tensors)
    path.unlink()
    save_file(tensors, path)
    with pytest.raises(ModelError, match=message):
        convert(internlm2, tmp_path / "out" / "hf", image_token_id=90)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("ps_version", "v1"),
        ("select_layer", -2),
        ("model_type", "internvl"),
        ("force_image_size", 448),
        ("quantization_config", {"bits": 4}),
    ],
)
def test_other_settings_are_refused_by_name(internlm2, tmp_path, key, value) -> None:
    change(internlm2, **{key: value})
    with pytest.raises(ModelError, match=key):
        convert(internlm2, tmp_path / "hf", image_token_id=90)


def test_no_pickle_is_opened(internlm2: Path, tmp_path: Path) -> None:
    (internlm2 / "model.safetensors").rename(internlm2 / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"pytorch_model.bin is not opened"):
        convert(internlm2, tmp_path / "hf", image_token_id=90)


def test_nothing_is_overwritten(internlm2: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is there already"):
        convert(internlm2, tmp_path, image_token_id=90)


def test_the_image_token_must_be_known(internlm2: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="--image-token-id"):
        convert(internlm2, tmp_path / "hf")


def test_a_tokenizer_of_another_model_is_refused(internlm2: Path, tmp_path: Path) -> None:
    words = tokenizer(["<img>", "</img>", IMAGE_TOKEN], "")
    words.save_pretrained(tmp_path / "words")
    with pytest.raises(ModelError, match=r"token '<s>' is None, the checkpoint has it at 1"):
        convert(internlm2, tmp_path / "hf", tokenizer=tmp_path / "words")
    (internlm2 / "added_tokens.json").write_text(json.dumps({IMAGE_TOKEN: 90}))
    with pytest.raises(ModelError, match=r"'<IMG_CONTEXT>' is 5, the checkpoint has it at 90"):
        convert(internlm2, tmp_path / "hf", tokenizer=tmp_path / "words")
    (internlm2 / "added_tokens.json").write_text(json.dumps({IMAGE_TOKEN: 5}))
    made = convert(internlm2, tmp_path / "hf", tokenizer=tmp_path / "words", system='be "brief"')
    assert made["image_token_id"] == 5
    ends = json.loads((tmp_path / "hf" / "generation_config.json").read_text())["eos_token_id"]
    assert ends == [2]  # both: <|im_end|> is 2 there


def test_the_template_begins_with_the_system_message_where_there_is_none() -> None:
    words = tokenizer([], chat_template("<s>", 'be "brief", 请'))
    asked = [{"role": "user", "content": "hello"}]
    turn = "<|im_start|>user\nhello<|im_end|>\n<|im_start|>assistant\n"
    text = words.apply_chat_template(asked, tokenize=False, add_generation_prompt=True)
    assert text == '<s><|im_start|>system\nbe "brief", 请<|im_end|>\n' + turn
    own = [{"role": "system", "content": "other"}, *asked]
    text = words.apply_chat_template(own, tokenize=False, add_generation_prompt=True)
    assert text == "<s><|im_start|>system\nother<|im_end|>\n" + turn
