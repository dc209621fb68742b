"""Unit vectors of frames and texts against plain forward passes."""

from __future__ import annotations

import numpy as np
import pytest
import tiny_checkpoints
import torch
import transformers

from hhvad.errors import ModelError
from hhvad.mllm.load import load

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
TEXTS = ["a fire", "a robbery and a crash", "a fire", "two people fight. " * 20]


@pytest.fixture(scope="module", params=["clip", "siglip"])
def folder(request, tmp_path_factory):
    return tiny_checkpoints.encoder(tmp_path_factory.mktemp(request.param), request.param)


def plain(folder, frames, ids):
    """The two sides' vectors as the whole model's forward pass gives them."""
    model = transformers.AutoModel.from_pretrained(folder).eval()
    pixels = torch.tensor(frames).permute(0, 3, 1, 2).float() / 255
    pixels = (pixels - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]
    with torch.no_grad():
        out = model(input_ids=torch.tensor([ids]), pixel_values=pixels)
    return [(x / x.norm(dim=-1, keepdim=True)).numpy() for x in (out.image_embeds, out.text_embeds)]


def test_vectors_equal_a_plain_pass(folder):
    frames = np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3), np.uint8)
    encoder = load(str(folder), device="cpu")
    images = encoder.embed_frames(frames, batch_size=2)
    texts, cut = encoder.embed_texts(TEXTS, batch_size=2)
    assert images.dtype == texts.dtype == np.float32
    assert cut.tolist() == [False, False, False, True]
    words = transformers.AutoTokenizer.from_pretrained(folder)
    for text, vector in zip(TEXTS[:3], texts, strict=False):
        ids = words(text)["input_ids"]
        if encoder.info.architecture == "siglip":
            ids = ids + [words.pad_token_id] * (24 - len(ids))
        want_images, want_text = plain(folder, frames, ids)
        np.testing.assert_allclose(vector, want_text[0], atol=1e-5)
        np.testing.assert_allclose(images, want_images, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(texts, axis=1), 1, atol=1e-6)


def test_frames_of_another_size(folder):
    with pytest.raises(ModelError, match=r"frames are 8x8, .* wants 16x16"):
        load(str(folder), device="cpu").embed_frames(np.zeros((1, 8, 8, 3), np.uint8), batch_size=1)
