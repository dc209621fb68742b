"""Unit vectors of frames and texts against plain forward passes."""

from __future__ import annotations

import numpy as np
import pytest
import tiny_checkpoints
import torch
import transformers
from transformers.models.siglip2.image_processing_pil_siglip2 import convert_image_to_patches

from hhvad.artifacts import hdf5, texts
from hhvad.cli import main
from hhvad.errors import ModelError
from hhvad.mllm.encoders.encoder import ENCODERS
from hhvad.mllm.load import load

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
TEXTS = ["a fire", "a robbery and a crash", "a fire", "two people fight. " * 20]


@pytest.fixture(scope="module", params=ENCODERS)
def folder(request, tmp_path_factory):
    return tiny_checkpoints.encoder(tmp_path_factory.mktemp(request.param), request.param)


def plain(folder, kind, frames, ids):
    """The two sides' vectors as the whole model's forward pass gives them."""
    model = transformers.AutoModel.from_pretrained(folder).eval()
    pixels = torch.tensor(frames).permute(0, 3, 1, 2).float() / 255
    pixels = (pixels - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]
    ids = torch.tensor([ids])
    shown = {"pixel_values": pixels}
    if kind in ("videoprism", "xclip"):
        name = {"videoprism": "pixel_values_videos", "xclip": "pixel_values"}[kind]
        shown = {name: torch.stack([pixels] * 4, dim=1)}
    if kind == "videoprism":
        shown["attention_mask"] = (ids != 0).long()
    if kind == "siglip2":
        shown = patches(pixels)
    with torch.no_grad():
        out = model(input_ids=ids, **shown)
        if kind == "xclip":  # its forward mixes the pictures into the text
            out.image_embeds = out.video_embeds
            out.text_embeds = model.text_projection(model.text_model(ids).pooler_output)
        if kind == "videoprism":
            out.image_embeds = out.video_embeds
    return [(x / x.norm(dim=-1, keepdim=True)).numpy() for x in (out.image_embeds, out.text_embeds)]


def patches(pixels):
    """What SigLIP 2's own preprocessing makes of pictures, padded to 16 patches."""
    theirs = [convert_image_to_patches(picture.numpy(), 8) for picture in pixels]
    padded = np.zeros((len(theirs), 16, theirs[0].shape[1]), np.float32)
    padded[:, : len(theirs[0])] = theirs
    mask = torch.zeros((len(theirs), 16), dtype=torch.int64)
    mask[:, : len(theirs[0])] = 1
    shape = [side // 8 for side in pixels.shape[2:]]
    return {
        "pixel_values": torch.tensor(padded),
        "pixel_attention_mask": mask,
        "spatial_shapes": torch.tensor([shape] * len(theirs)),
    }


def test_vectors_equal_a_plain_pass(folder):
    frames = np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3), np.uint8)
    encoder = load(str(folder), device="cpu")
    kind = encoder.info.architecture
    images = encoder.embed_frames(frames, batch_size=2)
    written, cut = encoder.embed_texts(TEXTS, batch_size=2)
    assert images.dtype == written.dtype == np.float32
    assert cut.tolist() == [False, False, False, True]
    words = transformers.AutoTokenizer.from_pretrained(folder)
    for text, vector in zip(TEXTS[:3], written, strict=False):
        ids = words(text)["input_ids"]
        if kind in ("siglip", "siglip2", "videoprism"):
            ids = ids + [words.pad_token_id] * (24 - len(ids))
        want_images, want_text = plain(folder, kind, frames, ids)
        np.testing.assert_allclose(vector, want_text[0], atol=1e-5)
        np.testing.assert_allclose(images, want_images, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(written, axis=1), 1, atol=1e-6)


def test_siglip2_sees_pictures_of_any_shape(tmp_path):
    folder = tiny_checkpoints.encoder(tmp_path / "siglip2", "siglip2")
    encoder = load(str(folder), device="cpu")
    frames = np.random.default_rng(0).integers(0, 256, (3, 16, 32, 3), np.uint8)
    want, _ = plain(folder, "siglip2", frames, [5, 2])
    np.testing.assert_allclose(encoder.embed_frames(frames, batch_size=2), want, atol=1e-5)


def test_frames_of_another_size(folder):
    with pytest.raises(ModelError, match=r"frames are 12x8, .* wants (16x16|multiples of 8)"):
        encoder = load(str(folder), device="cpu")
        encoder.embed_frames(np.zeros((1, 12, 8, 3), np.uint8), batch_size=1)


def test_the_commands(folder, tmp_path):
    rows = [{"segment": i, "text": text} for i, text in enumerate(TEXTS)]
    texts.write(tmp_path / "t.jsonl", "texts", rows, {"video": "v"})
    frames = np.random.default_rng(0).integers(0, 256, (2, 2, 16, 16, 3), np.uint8)
    arrays = {"frames": frames, "indices": np.array([[0, 24], [24, 72]])}
    hdf5.write(tmp_path / "f.h5", "frames", arrays, {"video": "v"})
    command = [
        "--model",
        str(folder),
        "--model-name",
        "tiny",
        "--revision",
        "",
        "--commit-file",
        "none",
        "--dtype",
        "auto",
    ]
    command += ["--device", "cpu", "--batch-size", "2", "--threads", "1", "--resident", "no"]
    command += ["--idle-timeout", "30", "--out", str(tmp_path / "out.h5")]
    given = ["--texts", str(tmp_path / "t.jsonl"), "--field"]
    assert main(["embed-texts", *given, "text", *command]) == 0
    found = hdf5.read(tmp_path / "out.h5", "vectors")
    assert found["unique"].tolist() == [0, 1, 0, 2]
    assert found["first"].tolist() == [0, 1, 3]
    assert found["cut"].tolist() == [False, False, True]
    assert (
        main(["embed-frames", "--vectors", "unit", "--frames", str(tmp_path / "f.h5"), *command])
        == 0
    )
    found = hdf5.read(tmp_path / "out.h5", "vectors")
    assert found["indices"].tolist() == [0, 24, 72]
    assert found["vectors"].shape[0] == 3
    assert main(["embed-texts", *given, "absent", *command]) == 2
