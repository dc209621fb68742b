"""Every family against transformers' own processor and plain forward, text and pixels by its path.

The processors' video classes need torchvision. Their text is a method of its own, and frames
go through the image processors that need PIL alone.
"""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
import tiny_checkpoints
import torch
import transformers
from test_capture import MEAN, STD, full_pass
from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import GotOcr2ImageProcessorPil
from transformers.models.internvl.processing_internvl import InternVLProcessor
from transformers.models.llava_onevision.processing_llava_onevision import LlavaOnevisionProcessor
from transformers.models.qwen2_5_vl.processing_qwen2_5_vl import Qwen2_5_VLProcessor
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil
from transformers.models.qwen3_vl.processing_qwen3_vl import Qwen3VLProcessor
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

from hhvad.mllm.backbones.backbone import Pixels, Told
from hhvad.mllm.engine import Engine

PROMPTS = [
    "a",
    "Is there anything abnormal or dangerous in these video frames? Answer yes or no. " * 5,
    "\n\n starts with what may merge with the line before it",
    "ends with blanks \t ",
    "looks like <|im_end| > or <img or <|video_pad or </s> but is none",
    "Déjà vu: 暴力? 🚨",
]
FAMILIES = {
    "internvl": (tiny_checkpoints.internvl, (32, 32), "InternVLForConditionalGeneration"),
    "llava_onevision": (
        tiny_checkpoints.llava_onevision, (24, 24), "LlavaOnevisionForConditionalGeneration",
    ),
    "qwen2_5_vl": (
        tiny_checkpoints.qwen2_5_vl, (32, 48), "Qwen2_5_VLForConditionalGeneration",
    ),
    "qwen3_vl": (tiny_checkpoints.qwen3_vl, (32, 48), "Qwen3VLForConditionalGeneration"),
}  # fmt: skip
START, END = "<|vision_start|>", "<|vision_end|>"


@pytest.fixture(scope="module", params=FAMILIES)
def family(request, tmp_path_factory):
    build, size, name = FAMILIES[request.param]
    folder = build(tmp_path_factory.mktemp(request.param))
    model = getattr(transformers, name).from_pretrained(folder, dtype=torch.float32).eval()
    return SimpleNamespace(
        name=request.param,
        folder=folder,
        size=size,
        model=model,
        words=transformers.AutoTokenizer.from_pretrained(folder),
        engine=Engine.load(str(folder), device="cpu", dtype="float32"),
    )


def pictures(family, frames, seed=0):
    shape = (frames, *family.size, 3)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def shown_by_transformers(name, pixels, frames, metadata):
    """The text that the installed processor writes for a video, without its torchvision part."""
    if name == "internvl":
        given = {"start_image_token": "<img>", "end_image_token": "</img>"}
        given |= {"image_token": "<IMG_CONTEXT>", "image_seq_length": 4}
        processor = bare(InternVLProcessor, **given)
        return processor.replace_video_token({"pixel_values_videos": pixels[None]}, 0)
    if name == "llava_onevision":
        processor = bare(LlavaOnevisionProcessor, num_image_tokens=9, video_token="<video>")
        return processor.replace_video_token({"pixel_values_videos": pixels[None]}, 0)
    inputs = {"video_grid_thw": torch.tensor([[-(-frames // 2), 4, 6]])}
    given = {"video_processor": SimpleNamespace(merge_size=2, temporal_patch_size=2)}
    given |= {"video_token": "<|video_pad|>"}
    if name == "qwen2_5_vl":
        return bare(Qwen2_5_VLProcessor, **given).replace_video_token(inputs, 0)
    given |= {"vision_start_token": START, "vision_end_token": END}
    inputs["video_metadata"] = [metadata]
    return bare(Qwen3VLProcessor, **given).replace_video_token(inputs, 0)


def bare(kind, **attributes):
    processor = kind.__new__(kind)
    for name, value in attributes.items():
        setattr(processor, name, value)
    return processor


def pixels_by_transformers(name, frames):
    """What a plain forward takes for frames [F, H, W, 3]."""
    settings = {"do_resize": False, "image_mean": MEAN, "image_std": STD, "do_convert_rgb": False}
    images = list(frames)
    if name == "internvl":
        made = GotOcr2ImageProcessorPil(**settings, crop_to_patches=False)
        return made(images, return_tensors="pt").pixel_values
    if name == "llava_onevision":
        return SiglipImageProcessorPil(**settings)(images, return_tensors="pt").pixel_values
    made = Qwen2VLImageProcessorPil(**settings, patch_size=8, merge_size=2, temporal_patch_size=2)
    images += images[-1:] * (len(images) % 2)
    # Of an image both halves of a patch are the same: of a video, one is of each frame.
    each = made(images, return_tensors="pt").pixel_values.reshape(len(images), 24, 3, 2, 64)
    return torch.stack([each[0::2, :, :, 0], each[1::2, :, :, 1]], dim=3).reshape(-1, 384)


def plain_inputs(family, frames, prompt, metadata, outer_marks):
    pixels = pixels_by_transformers(family.name, frames)
    content = [{"type": "video"}, {"type": "text", "text": prompt}]
    text = family.words.apply_chat_template(
        [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
    )
    mark = "<|video_pad|>" if family.name.startswith("qwen") else "<video>"
    shown = shown_by_transformers(family.name, pixels, len(frames), metadata)
    if family.name == "qwen3_vl" and not outer_marks:
        mark = f"{START}{mark}{END}"  # as transformers before 5.12 and vLLM
    text = text.replace(mark, shown)
    ids = family.words(text, add_special_tokens=False, return_tensors="pt").input_ids
    inputs = {"input_ids": ids}
    if family.name == "internvl":
        return text, inputs | {"pixel_values": pixels}
    if family.name == "llava_onevision":
        return text, inputs | {"pixel_values_videos": pixels[None]}
    video = family.words.convert_tokens_to_ids("<|video_pad|>")
    grid = torch.tensor([[-(-len(frames) // 2), 4, 6]])
    inputs |= {"pixel_values_videos": pixels, "video_grid_thw": grid}
    return text, inputs | {"mm_token_type_ids": (ids == video).int() * 2}


def two_a_second(frames):
    return SimpleNamespace(fps=2.0, frames_indices=list(range(frames)))


@pytest.mark.parametrize("frames", [1, 2, 3, 5])
def test_features_are_those_of_the_processor_and_a_plain_forward(family, frames):
    shown = pictures(family, frames)
    prompts = PROMPTS if frames == 2 else PROMPTS[:1]
    found = family.engine.capture(shown[None], prompts)
    for prompt, got in zip(prompts, found, strict=True):
        text, inputs = plain_inputs(family, shown, prompt, two_a_second(frames), False)
        assert family.engine._text(prompt, frames, *family.size) == text
        want = full_pass(family.model, inputs)
        np.testing.assert_allclose(got[0], want, atol=2e-5, rtol=0)


# What Qwen3-VL is told


@pytest.fixture(scope="module")
def qwen3(tmp_path_factory):
    folder = tiny_checkpoints.qwen3_vl(tmp_path_factory.mktemp("told"))
    name = FAMILIES["qwen3_vl"][2]
    model = getattr(transformers, name).from_pretrained(folder, dtype=torch.float32).eval()
    words = transformers.AutoTokenizer.from_pretrained(folder)
    engine = Engine.load(str(folder), device="cpu", dtype="float32")
    return SimpleNamespace(
        name="qwen3_vl", folder=folder, size=(32, 48), model=model, words=words, engine=engine
    )


@pytest.mark.parametrize("outer_marks", [True, False])
@pytest.mark.parametrize("frames", [2, 5])
def test_both_ways_and_true_times_are_the_processors(qwen3, outer_marks, frames):
    """Every fourth frame of a video of 30 frames a second."""
    shown = pictures(qwen3, frames)
    indices = [4 * i for i in range(frames)]
    metadata = SimpleNamespace(fps=30.0, frames_indices=indices)
    text, inputs = plain_inputs(qwen3, shown, "a fire", metadata, outer_marks)
    seconds = np.array([indices]) / 30
    told = Told(tuple(seconds[0]), outer_marks)
    assert qwen3.engine._text("a fire", frames, 32, 48, "", told) == text
    (got,) = qwen3.engine.capture(shown[None], ["a fire"], seconds=seconds, outer_marks=outer_marks)
    np.testing.assert_allclose(got[0], full_pass(qwen3.model, inputs), atol=2e-5, rtol=0)


def test_a_segment_is_told_its_own_times(qwen3):
    """Segments of other times are not in one batch, and come back in their order."""
    shown = np.stack([pictures(qwen3, 2, seed) for seed in range(4)])
    seconds = np.array([[0.0, 0.8], [0.0, 0.8], [0.0, 3.0], [0.0, 0.8]])
    seen = []
    (together,) = qwen3.engine.capture(
        shown, ["a fire"], seconds=seconds, progress=lambda *at: seen.append(at)
    )
    assert seen[-1] == (4, 4)
    for one, row, want in zip(shown, seconds, together, strict=True):
        (alone,) = qwen3.engine.capture(one[None], ["a fire"], seconds=row[None])
        np.testing.assert_allclose(alone[0], want, atol=1e-5, rtol=0)
    (fixed,) = qwen3.engine.capture(shown, ["a fire"])
    assert np.abs(fixed - together).max() > 1e-3  # 0.25 s each, instead of 0.4 and 1.5 s


def test_families_that_are_told_no_times_ignore_them(tmp_path):
    engine = Engine.load(str(tiny_checkpoints.internvl(tmp_path)), device="cpu")
    frames = np.zeros((2, 2, 32, 32, 3), np.uint8)
    plain = engine.capture(frames, ["a fire"])[0]
    timed = engine.capture(frames, ["a fire"], seconds=np.array([[0.0, 1.0], [0.0, 9.0]]))[0]
    assert np.array_equal(plain, timed)
    assert not engine.info.tells_time


# Which preprocessor


def test_videos_take_the_settings_for_videos(tmp_path):
    folder = tiny_checkpoints.internvl(tmp_path)
    frames = np.random.default_rng(0).integers(0, 256, (1, 2, 32, 32, 3), dtype=np.uint8)
    before = Engine.load(str(folder), device="cpu").capture(frames, ["a fire"])[0]
    image = json.loads((folder / "preprocessor_config.json").read_text())
    video = image | {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    (folder / "video_preprocessor_config.json").write_text(json.dumps(video))
    assert Pixels.read(folder, "video").mean == (0.5, 0.5, 0.5)
    assert Pixels.read(folder).mean == tuple(MEAN)
    after = Engine.load(str(folder), device="cpu").capture(frames, ["a fire"])[0]
    assert np.abs(after - before).max() > 1e-3
    # As if the checkpoint had these settings alone.
    (folder / "video_preprocessor_config.json").unlink()
    (folder / "preprocessor_config.json").write_text(json.dumps(video))
    alone = Engine.load(str(folder), device="cpu").capture(frames, ["a fire"])[0]
    assert np.array_equal(after, alone)


@pytest.mark.parametrize("kind", ["image", "video"])
def test_one_kind_of_settings_stands_for_both(tmp_path, kind):
    name = "preprocessor_config.json" if kind == "image" else "video_preprocessor_config.json"
    (tmp_path / name).write_text(json.dumps({"image_mean": MEAN, "image_std": STD}))
    assert Pixels.read(tmp_path, "image") == Pixels.read(tmp_path, "video")


def test_the_parts_of_a_processor_config(tmp_path):
    image, video = ({"image_mean": [x] * 3, "image_std": STD} for x in (0.1, 0.2))
    parts = {"image_processor": image, "video_processor": video}
    (tmp_path / "processor_config.json").write_text(json.dumps(parts))
    assert Pixels.read(tmp_path, "image").mean == (0.1, 0.1, 0.1)
    assert Pixels.read(tmp_path, "video").mean == (0.2, 0.2, 0.2)
