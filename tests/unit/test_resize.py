"""The one resize against Pillow's, which the checkpoints were trained with."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from hhvad.media.resize import resize


def pictures(height: int, width: int) -> np.ndarray:
    """Two frames: noise, and edges with slopes between them."""
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    y, x = np.mgrid[:height, :width]
    edges = np.stack([(x * 7 + y) % 256, 255 * ((x // 9 + y // 5) % 2), y * 255 // height], -1)
    return np.stack([noise, edges.astype(np.uint8)])


@pytest.mark.parametrize(
    ("source", "size"),
    [
        ((240, 320), (448, 448)),
        ((800, 1200), (448, 448)),
        ((121, 163), (56, 56)),
        ((60, 40), (384, 384)),
        ((480, 640), (252, 336)),
        ((3, 5), (28, 28)),
    ],
)
def test_equals_pillow_within_two_levels(source, size):
    frames = pictures(*source)
    found = resize(frames, size)
    assert found.shape == (2, *size, 3)
    assert found.dtype == np.uint8
    for mine, frame in zip(found, frames, strict=True):
        theirs = np.asarray(Image.fromarray(frame).resize(size[::-1], Image.Resampling.BICUBIC))
        assert np.abs(mine.astype(int) - theirs).max() <= 2


def test_each_frame_by_itself():
    frames = pictures(90, 130)
    together = resize(frames, (56, 56))
    assert np.array_equal(together[1], resize(frames[1:], (56, 56))[0])


def test_the_right_size_is_left_alone():
    frames = pictures(56, 56)
    assert resize(frames, (56, 56)) is frames
