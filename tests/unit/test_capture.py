"""The engine against plain full passes of the same transformers models."""

from __future__ import annotations

import json
import logging
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import safetensors.torch
import tiny_checkpoints
import torch
import transformers

from hhvad.errors import ModelError
from hhvad.mllm import engine as capture
from hhvad.mllm.engine import Engine
from hhvad.mllm.hooks import PassDone, Tap
from hhvad.records import HeadId

PARTS = ("self_attn.k_proj", "self_attn.o_proj", "mlp")
PROMPTS = [
    "Is there anything abnormal?",
    "a fire",
    "Describe what happens in these video frames, please: a robbery?",
]
SEGMENTS, FRAMES = 3, 3
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


@dataclass
class Family:
    """One backbone: its tiny checkpoint, frames for it, and how to show them in a plain pass."""

    name: str
    folder: Path
    frames: np.ndarray
    model_class: str

    def inputs(self, segment: np.ndarray, prompt: str, before: str = "") -> dict[str, Any]:
        """Everything that a plain forward pass takes, written independently of the adapters."""
        words = transformers.AutoTokenizer.from_pretrained(self.folder)
        pixels = torch.tensor(segment).permute(0, 3, 1, 2).float() / 255
        pixels = (pixels - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]
        extra: dict[str, Any]
        if self.name.startswith("internvl"):
            tile = "<img>" + 4 * "<IMG_CONTEXT>" + "</img>"
            shown = "\n".join(f"Frame{i + 1}: {tile}" for i in range(len(segment))) + "\n"
            extra = {"pixel_values": pixels}
        elif self.name == "llava_onevision":
            shown = "<video>" * (4 * len(segment) + 1) + "\n"
            extra = {"pixel_values_videos": pixels[None]}
        else:
            steps = (len(segment) + 1) // 2
            marked = "<|vision_start|>{}<|vision_end|>"
            if self.name == "qwen2_5_vl":
                shown = marked.format("<|video_pad|>" * 6 * steps)
            else:
                assert steps == 2  # frames at 0, 0.5 and 1 second
                shown = "<0.2 seconds>" + marked.format("<|video_pad|>" * 6)
                shown += "<1.0 seconds>" + marked.format("<|video_pad|>" * 6)
            extra = {
                "pixel_values_videos": qwen_patches(pixels, 8, 2),
                "video_grid_thw": torch.tensor([[steps, 4, 6]]),
            }
        text = f"{before}<|im_start|>user\n{shown}{prompt}<|im_end|>\n<|im_start|>assistant\n"
        ids = words(text, return_tensors="pt").input_ids
        if self.name.startswith("qwen"):
            video = words.convert_tokens_to_ids("<|video_pad|>")
            extra["mm_token_type_ids"] = (ids == video).int() * 2
        return {"input_ids": ids, **extra}

    def model(self, dtype: torch.dtype = torch.float32) -> Any:
        return getattr(transformers, self.model_class).from_pretrained(self.folder, dtype=dtype)

    def expected(self, frames: np.ndarray, prompts: list[str]) -> list[np.ndarray]:
        """Features [S, L, H, D] a prompt, by one full pass a segment and prompt."""
        model = self.model().eval()
        return [
            np.stack([full_pass(model, self.inputs(segment, prompt)) for segment in frames])
            for prompt in prompts
        ]


def full_pass(model: Any, inputs: dict[str, Any]) -> np.ndarray:
    text = model.config.get_text_config()
    found: list[torch.Tensor] = []
    hooks = [
        layer.self_attn.o_proj.register_forward_pre_hook(lambda _, args: found.append(args[0]))
        for layer in model.model.language_model.layers
    ]
    with torch.no_grad():
        model(**inputs)
    for hook in hooks:
        hook.remove()
    heads = torch.stack([x[0, -1] for x in found])
    return heads.reshape(len(found), text.num_attention_heads, -1).float().numpy()


def qwen_patches(pixels: torch.Tensor, side: int, merge: int) -> torch.Tensor:
    """Patches of [F, 3, H, W], two frames each, those of a merged token one after the other."""
    if len(pixels) % 2:
        pixels = torch.cat([pixels, pixels[-1:]])
    rows = []
    for time in range(0, len(pixels), 2):
        for top in range(0, pixels.shape[2], side * merge):
            for left in range(0, pixels.shape[3], side * merge):
                for y in range(top, top + side * merge, side):
                    for x in range(left, left + side * merge, side):
                        patch = pixels[time : time + 2, :, y : y + side, x : x + side]
                        rows.append(patch.transpose(0, 1).flatten())
    return torch.stack(rows)


def make(name: str, folder: Path) -> Family:
    builders = {
        "internvl": (tiny_checkpoints.internvl, (32, 32), "InternVL"),
        "internvl_qwen3_tied": (
            lambda path: tiny_checkpoints.internvl(path, text="qwen3", tie=True),
            (32, 32),
            "InternVL",
        ),
        "qwen2_5_vl": (tiny_checkpoints.qwen2_5_vl, (32, 48), "Qwen2_5_VL"),
        "qwen3_vl": (tiny_checkpoints.qwen3_vl, (32, 48), "Qwen3VL"),
        "llava_onevision": (tiny_checkpoints.llava_onevision, (24, 24), "LlavaOnevision"),
    }
    build, size, class_name = builders[name]
    build(folder)
    rng = np.random.default_rng(7)
    frames = rng.integers(0, 256, (SEGMENTS, FRAMES, *size, 3), dtype=np.uint8)
    return Family(name, folder, frames, f"{class_name}ForConditionalGeneration")


FAMILIES = ["internvl", "internvl_qwen3_tied", "qwen2_5_vl", "qwen3_vl", "llava_onevision"]


@pytest.fixture(scope="module", params=FAMILIES)
def family(request, tmp_path_factory) -> Family:
    return make(request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module")
def simple(tmp_path_factory) -> Family:
    """The family that tests of the engine itself use."""
    return make("internvl", tmp_path_factory.mktemp("simple"))


@pytest.fixture(scope="module")
def engine(simple) -> Engine:
    return Engine.load(str(simple.folder), device="cpu")


@pytest.fixture
def checkpoint(simple, tmp_path) -> Path:
    """A copy of the simple checkpoint, to be damaged."""
    return shutil.copytree(simple.folder, tmp_path / "model")


# Features


def test_features_equal_a_plain_full_pass(family):
    engine = Engine.load(str(family.folder), device="cpu")
    found = engine.capture(family.frames, PROMPTS)
    text = family.model().config.get_text_config()
    heads = text.num_attention_heads
    head_dim = getattr(text, "head_dim", None) or text.hidden_size // heads
    assert (engine.info.layers, engine.info.heads, engine.info.head_dim) == (
        text.num_hidden_layers,
        heads,
        head_dim,
    )
    for got, want in zip(found, family.expected(family.frames, PROMPTS), strict=True):
        assert got.dtype == np.float32
        assert got.shape == (SEGMENTS, text.num_hidden_layers, heads, head_dim)
        assert np.abs(want).mean() > 0.05  # features worth comparing
        np.testing.assert_allclose(got, want, atol=1e-5, rtol=0)


def test_states_are_what_enters_layers_and_the_last_norm(family):
    engine = Engine.load(str(family.folder), device="cpu")
    found = engine.capture(family.frames, PROMPTS[:2], batch_size=2, states=True)
    model = family.model().eval()
    text = model.config.get_text_config()
    for got, prompt in zip(found, PROMPTS, strict=False):
        assert got.shape == (SEGMENTS, text.num_hidden_layers + 1, 1, text.hidden_size)
        for states, segment in zip(got, family.frames, strict=True):
            with torch.no_grad():
                inputs = family.inputs(segment, prompt)
                hidden = model(**inputs, output_hidden_states=True).hidden_states
                last = model.model.language_model.norm(torch.from_numpy(states[-1, 0]))
            want = torch.stack([layer[0, -1] for layer in hidden[:-1]]).numpy()
            np.testing.assert_allclose(states[:-1, 0], want, atol=1e-5, rtol=0)
            np.testing.assert_allclose(last.numpy(), hidden[-1][0, -1], atol=1e-5, rtol=0)
    with pytest.raises(ModelError, match="heads and states"):
        engine.capture(family.frames, PROMPTS[:1], heads=[HeadId(0, 0)], states=True)


def test_a_system_message_stands_before_the_frames(family):
    engine = Engine.load(str(family.folder), device="cpu")
    found = engine.capture(family.frames[:1], PROMPTS[:2], system="You watch a camera.")
    model = family.model().eval()
    before = "<|im_start|>system\nYou watch a camera.<|im_end|>\n"
    for got, prompt in zip(found, PROMPTS, strict=False):
        want = full_pass(model, family.inputs(family.frames[0], prompt, before))
        np.testing.assert_allclose(got[0], want, atol=1e-5, rtol=0)
    height, width = family.frames.shape[2:4]
    passes = engine._plan(PROMPTS, FRAMES, height, width, "You watch a camera.")
    assert [len(group.suffixes) for group in passes] == [len(PROMPTS)]  # one shared prefix


@pytest.mark.parametrize("reaction", ["drops it", "refuses it"])
def test_a_template_without_a_system_role_gets_it_in_front_of_the_users_text(
    simple, checkpoint, reaction
):
    template = tiny_checkpoints.chatml("{{ '<video>\n' }}")
    refusal = "{{ raise_exception('no system role') }}" if reaction == "refuses it" else ""
    known = "{% for message in messages %}"
    without = known + "{% if message['role'] == 'system' %}" + refusal + "{% else %}"
    template = template.replace(known, without)
    template = template.replace(
        "{{ '<|im_end|>\n' }}{% endfor %}", "{{ '<|im_end|>\n' }}{% endif %}{% endfor %}"
    )
    (checkpoint / "chat_template.jinja").write_text(template)
    engine = Engine.load(str(checkpoint), device="cpu")
    assert engine.text("a fire", 1, system="You watch.") == (
        "<|im_start|>user\nYou watch.\nFrame1: <img><IMG_CONTEXT>x4</img>\na fire<|im_end|>\n"
        "<|im_start|>assistant\n"
    )


def test_features_do_not_depend_on_companions(family):
    engine = Engine.load(str(family.folder), device="cpu")
    together = engine.capture(family.frames, PROMPTS, batch_size=3)
    for index, prompt in enumerate(PROMPTS):
        alone = engine.capture(family.frames, [prompt], batch_size=3)[0]
        np.testing.assert_array_equal(alone, together[index])
        for size in (1, 2):
            (other,) = engine.capture(family.frames, [prompt], batch_size=size)
            np.testing.assert_allclose(other, together[index], atol=1e-6, rtol=0)
    (single,) = engine.capture(family.frames[1:2], PROMPTS[:1])
    np.testing.assert_allclose(single[0], together[0][1], atol=1e-6, rtol=0)


def test_experts_are_a_subset_of_all_heads(family):
    engine = Engine.load(str(family.folder), device="cpu")
    (every,) = engine.capture(family.frames, PROMPTS[:1])
    experts = [HeadId(1, 3), HeadId(0, 2), HeadId(1, 0)]
    (some,) = engine.capture(family.frames, PROMPTS[:1], heads=experts)
    want = np.stack([every[:, layer, head] for layer, head in experts], axis=1)
    np.testing.assert_allclose(some, want, atol=1e-6, rtol=0)


def test_nothing_runs_behind_the_deepest_head(engine, simple):
    calls: dict[str, int] = {}

    def count(name):
        return lambda *_: calls.__setitem__(name, calls.get(name, 0) + 1)

    modules = dict(engine.backbone.decoder.named_modules())
    handles = [
        modules[f"layers.{layer}.{part}"].register_forward_hook(count(f"{layer}.{part}"))
        for layer in range(4)
        for part in ("self_attn.k_proj", "self_attn.o_proj", "mlp")
    ]
    handles.append(modules["norm"].register_forward_hook(count("norm")))
    engine.capture(simple.frames[:1], PROMPTS, heads=[HeadId(2, 0), HeadId(0, 1)])
    for handle in handles:
        handle.remove()
    passes = 1 + len(PROMPTS)  # the prefix and every suffix
    ran = {name for name, times in calls.items() if times == passes}
    assert ran == {f"{layer}.{part}" for layer in (0, 1) for part in PARTS} | {"2.self_attn.k_proj"}
    assert set(calls) == ran
    assert not hasattr(engine.backbone.model, "lm_head")


def test_question_first_template_falls_back_to_full_passes(simple, checkpoint, caplog):
    template = (
        "{% for part in messages[0]['content'] %}{% if part['type'] == 'text' %}"
        "{{ part['text'] + '\n' }}{% endif %}{% endfor %}<video>\n"
        "<|im_end|>\n<|im_start|>assistant{{ '\n' }}"
    )
    (checkpoint / "chat_template.jinja").write_text(template)
    engine = Engine.load(str(checkpoint), device="cpu")
    text = engine.text("a fire", 1)
    assert text.startswith("a fire\nFrame1: <img><IMG_CONTEXT>x4</img>\n<|im_end|>")
    with caplog.at_level(logging.WARNING, logger="hhvad"):
        found = engine.capture(simple.frames, PROMPTS[:2])
    assert "full pass" in caplog.text
    model = simple.model().eval()
    for prompt, got in zip(PROMPTS, found, strict=False):
        inputs = simple.inputs(simple.frames[0], prompt)
        tile = "<img>" + 4 * "<IMG_CONTEXT>" + "</img>"
        shown = "\n".join(f"Frame{i}: {tile}" for i in (1, 2, 3))
        written = f"{prompt}\n{shown}\n<|im_end|>\n<|im_start|>assistant\n"
        inputs["input_ids"] = engine.tokenizer(written, return_tensors="pt").input_ids
        np.testing.assert_allclose(got[0], full_pass(model, inputs), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    "body",
    [
        "{{ message['content'] }}",
        "{{ '' + message['content'] }}",
        "{% if message['content'] is not string %}{{ raise_exception('text only') }}{% endif %}"
        "{{ message['content'] }}",
        "{% for part in message['content'] %}{{ part['text'] }}{% endfor %}",
    ],
)
def test_text_only_templates_show_frames_too(checkpoint, engine, body):
    template = "{% for message in messages %}<|im_start|>user\n" + body + "<|im_end|>\n"
    template += "{% endfor %}<|im_start|>assistant{{ '\n' }}"
    (checkpoint / "chat_template.jinja").write_text(template)
    other = Engine.load(str(checkpoint), device="cpu")
    assert other.text("a fire", 2) == engine.text("a fire", 2)


def test_text_is_what_the_paper_describes(engine):
    assert engine.text("Anything odd?", 2) == (
        "<|im_start|>user\nFrame1: <img><IMG_CONTEXT>x4</img>\nFrame2: <img><IMG_CONTEXT>x4</img>\n"
        "Anything odd?<|im_end|>\n<|im_start|>assistant\n"
    )


def test_frames_from_hdf5_with_progress(engine, simple, tmp_path):
    wanted = engine.capture(simple.frames, PROMPTS[:2], batch_size=1)
    seen = []
    with h5py.File(tmp_path / "frames.h5", "w") as file:
        data = file.create_dataset(
            "frames", data=simple.frames, chunks=(1, *simple.frames[0].shape)
        )
        found = engine.capture(
            data, PROMPTS[:2], batch_size=1, progress=lambda *pair: seen.append(pair)
        )
    assert seen == [(1, 3), (2, 3), (3, 3)]
    np.testing.assert_array_equal(found, wanted)


def test_empty_requests(engine, simple):
    assert engine.capture(simple.frames, []) == []
    (none,) = engine.capture(simple.frames[:0], ["a"])
    assert none.shape == (0, 4, 4, 16)
    (none,) = engine.capture(simple.frames, ["a"], heads=[])
    assert none.shape == (3, 0, 16)


def test_read_only_frames_and_same_bytes_again(engine, simple):
    frames = simple.frames.copy()
    frames.flags.writeable = False
    first, again = (engine.capture(frames, PROMPTS[:1])[0] for _ in range(2))
    assert first.tobytes() == again.tobytes()


def test_bfloat16_and_non_finite_features(simple):
    engine = Engine.load(str(simple.folder), device="cpu", dtype="bfloat16")
    assert engine.info.dtype == "bfloat16"
    (found,) = engine.capture(simple.frames, PROMPTS[:1])
    (wanted,) = simple.expected(simple.frames, PROMPTS[:1])
    assert np.abs(found - wanted).max() < 0.1 * np.abs(wanted).max()
    torch.testing.assert_close(torch.tensor(found).bfloat16().float(), torch.tensor(found))
    with torch.no_grad():
        engine.backbone.decoder.layers[1].self_attn.v_proj.bias[:16] = torch.inf
    (broken,) = engine.capture(simple.frames, PROMPTS[:1])
    assert not np.isfinite(broken[:, 1, :2]).any()  # two query heads share that value head
    assert np.isfinite(broken[:, 0]).all()
    assert np.isfinite(broken[:, 1, 2:]).all()


def test_info_fingerprint_belongs_to_the_files(engine, simple, checkpoint):
    assert Engine.load(str(checkpoint), device="cpu").info == engine.info
    weights = safetensors.torch.load_file(checkpoint / "model.safetensors")
    name = sorted(weights)[0]
    weights[name] = weights[name] + 1
    safetensors.torch.save_file(weights, checkpoint / "model.safetensors", {"format": "pt"})
    assert Engine.load(str(checkpoint), device="cpu").info.fingerprint != engine.info.fingerprint
    assert engine.info.architecture == "internvl"
    assert engine.info.frame_size == (32, 32)
    assert engine.info.tokens_per_frame == 4


def test_loading_is_silent(simple, capfd):
    Engine.load(str(simple.folder), device="cpu")
    assert capfd.readouterr() == ("", "")


# Memory


def failing(engine, monkeypatch, limit):
    """The decoder runs out of memory with more than `limit` segments."""
    sizes = []
    encode = engine.backbone.encode

    def encode_or_fail(pixels):
        sizes.append(len(pixels))
        if len(pixels) > limit:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return encode(pixels)

    monkeypatch.setattr(engine.backbone, "encode", encode_or_fail)
    return sizes


def test_out_of_memory_halves_the_batch_and_loses_nothing(engine, simple, monkeypatch):
    frames = np.concatenate([simple.frames] * 3)
    wanted = engine.capture(frames, PROMPTS[:2], batch_size=1)
    sizes = failing(engine, monkeypatch, 2)
    seen = []
    found = engine.capture(
        frames, PROMPTS[:2], batch_size=8, progress=lambda done, _: seen.append(done)
    )
    assert sizes == [8, 4, 2, 2, 2, 2, 1]
    assert seen == [2, 4, 6, 8, 9]
    np.testing.assert_allclose(found, wanted, atol=1e-6, rtol=0)


def test_other_errors_are_not_taken_for_memory(engine, simple, monkeypatch):
    def broken(pixels):
        raise RuntimeError("shapes differ")

    monkeypatch.setattr(engine.backbone, "encode", broken)
    with pytest.raises(RuntimeError, match="shapes differ"):
        engine.capture(simple.frames, PROMPTS[:1])


def test_out_of_memory_for_one_segment(engine, simple, monkeypatch):
    failing(engine, monkeypatch, 0)
    with pytest.raises(ModelError, match=r"one segment of 3x32x32 .*sampling\.frames"):
        engine.capture(simple.frames, PROMPTS[:1])


# Bad input


@pytest.mark.parametrize(
    ("frames", "words"),
    [
        (np.zeros((1, 2, 30, 32, 3), np.uint8), r"30x32.*32x32.*sampling\.size"),
        (np.zeros((1, 2, 32, 32, 3), np.float32), "float32"),
        (np.zeros((1, 2, 32, 32), np.uint8), "expected uint8"),
        (np.zeros((1, 0, 32, 32, 3), np.uint8), "no frames"),
    ],
)
def test_frames_that_do_not_suit(engine, frames, words):
    with pytest.raises(ModelError, match=words):
        engine.capture(frames, ["a"])


def test_qwen_takes_whole_patches_only(tmp_path):
    tiny_checkpoints.qwen2_5_vl(tmp_path)
    engine = Engine.load(str(tmp_path), device="cpu")
    assert engine.info.frame_size is None
    assert engine.info.tokens_per_frame is None
    assert "<|vision_start|><|video_pad|>x2<|vision_end|>a" in engine.text("a", 4)
    assert "<|vision_start|><|video_pad|>x12<|vision_end|>a" in engine.text("a", 4, (32, 48))
    with pytest.raises(ModelError, match=r"32x40.*multiples of 16.*sampling\.size"):
        engine.capture(np.zeros((1, 2, 32, 40, 3), np.uint8), ["a"])
    (found,) = engine.capture(np.zeros((1, 2, 16, 32, 3), np.uint8), ["a"])
    assert np.isfinite(found).all()


def test_requests_that_do_not_suit(engine, simple):
    with pytest.raises(ModelError, match=r"head \(4,0\) is outside .* 4 layers x 4 heads"):
        engine.capture(simple.frames, ["a"], heads=[HeadId(4, 0)])
    with pytest.raises(ModelError, match="batch_size"):
        engine.capture(simple.frames, ["a"], batch_size=0)
    with pytest.raises(ModelError, match="<IMG_CONTEXT>"):
        engine.capture(simple.frames, ["what is <IMG_CONTEXT>?"])


def load(folder, **options):
    return Engine.load(str(folder), device="cpu", **options)


def test_missing_tokenizer(checkpoint):
    (checkpoint / "tokenizer.json").unlink()
    with pytest.raises(ModelError, match=r"tokenizer is absent.*tokenizer\.json"):
        load(checkpoint)


def test_damaged_tokenizer(checkpoint):
    (checkpoint / "tokenizer.json").write_text('{"half": ')
    with pytest.raises(ModelError, match="tokenizer cannot be loaded"):
        load(checkpoint)


def test_unknown_architecture(checkpoint):
    config = json.loads((checkpoint / "config.json").read_text())
    (checkpoint / "config.json").write_text(json.dumps(config | {"model_type": "bert"}))
    with pytest.raises(ModelError, match=r"'bert'.*internvl.*qwen3_vl.*docs/adapters\.md"):
        load(checkpoint)


def test_folders_that_are_no_checkpoints(tmp_path, checkpoint):
    with pytest.raises(ModelError, match="no such checkpoint folder"):
        load(tmp_path / "absent")
    with pytest.raises(ModelError, match=r"config\.json is absent"):
        load(tmp_path)
    (checkpoint / "config.json").write_text("{")
    with pytest.raises(ModelError, match=r"config\.json.*line 1"):
        load(checkpoint)


def test_hub_id_without_network(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ModelError, match=r"OpenGVLab/InternVL3-8B-hf.*the network"):
        Engine.load("OpenGVLab/InternVL3-8B-hf")


def test_weights_that_do_not_fit(checkpoint):
    weights = safetensors.torch.load_file(checkpoint / "model.safetensors")
    name = next(name for name in weights if name.endswith("layers.2.self_attn.q_proj.weight"))
    save = safetensors.torch.save_file
    path = checkpoint / "model.safetensors"
    save({n: w for n, w in weights.items() if n != name}, path, {"format": "pt"})
    with pytest.raises(ModelError, match=r"lack '.*layers\.2\.self_attn\.q_proj\.weight'"):
        load(checkpoint)
    save(weights | {name: weights[name][:8].clone()}, path, {"format": "pt"})
    with pytest.raises(ModelError, match=r"layers\.2\.self_attn\.q_proj|mismatch"):
        load(checkpoint)
    save(weights | {name: weights[name].bfloat16()}, path, {"format": "pt"})
    with pytest.raises(ModelError, match=r"mix BF16 and F32.*model\.dtype"):
        load(checkpoint)
    assert load(checkpoint, dtype="float32").info.dtype == "float32"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ModelError, match=r"model\.safetensors.*cut off"):
        load(checkpoint)
    path.rename(checkpoint / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"no .*safetensors files"):
        load(checkpoint)


def test_no_chat_template(checkpoint, simple):
    (checkpoint / "chat_template.jinja").unlink()
    with pytest.raises(ModelError, match="no chat template"):
        load(checkpoint).capture(simple.frames, ["a"])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"dtype": "int8"}, "dtype 'int8' is unknown"),
        ({"device": "gpu"}, "device 'gpu' is unknown"),
        ({"device": "meta"}, "not supported"),
        ({"device": "cuda:77"}, "not here"),
    ],
)
def test_bad_options(simple, options, words):
    with pytest.raises(ModelError, match=words):
        Engine.load(str(simple.folder), **options)


# The tap


def test_tap_leaves_nothing_behind(engine):
    decoder = engine.backbone.decoder
    hooks = lambda: sum(len(m._forward_pre_hooks) for m in decoder.modules())  # noqa: E731
    names = ["layers.0.self_attn.o_proj", "layers.1.self_attn.o_proj"]
    with pytest.raises(ModelError, match=r"o_prj.*layers\.1\.self_attn\.o_proj"):
        Tap(decoder, [names[0], "layers.1.self_attn.o_prj"]).__enter__()
    assert hooks() == 0
    with pytest.raises(ZeroDivisionError), Tap(decoder, names):
        assert hooks() == 2
        raise ZeroDivisionError
    assert hooks() == 0
    embeds = torch.randn(1, 5, 48)
    with torch.no_grad(), Tap(decoder, names) as tap:
        whole = decoder(inputs_embeds=embeds).last_hidden_state
    with torch.no_grad(), Tap(decoder, names, stop=True) as stopped:
        decoder(inputs_embeds=embeds)
        pytest.fail("the pass went on")
    assert whole.shape == (1, 5, 48)
    assert [v.shape for v in tap.values] == [(1, 64), (1, 64)]
    torch.testing.assert_close(tap.values, stopped.values, atol=0, rtol=0)
    assert not issubclass(PassDone, ModelError)


def test_growing_batches(monkeypatch):
    """On a GPU: doubled while a segment gets cheaper, settled one step back when it does not.

    The first two batches of each size are not judged.
    """
    clock = iter([0.0])
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: None)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 5)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 10)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (0, 1000))
    size = capture._GrowingBatchSize(torch.device("cpu"))
    cost = {1: 1.0, 2: 0.7, 4: 0.5, 8: 0.499}
    seen = []
    for _ in range(14):
        clock = iter([cost[size.size] * size.size])
        monkeypatch.setattr(capture.time, "perf_counter", lambda clock=clock: next(clock))
        seen.append(size.size)
        size.ran(size.size, 0.0)
    assert seen == [1, 1, 1, 2, 2, 2, 4, 4, 4, 8, 8, 8, 4, 4]
    size.failed(4)
    assert size.size == 2
