"""The one resize, with torch and with numpy: the same bytes, and close to Pillow's.

Pillow's is what the checkpoints were trained with.
"""

from __future__ import annotations

import builtins
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from hhvad.media import resize as module
from hhvad.media.resize import cropping, resizer, with_numpy, with_torch


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
    found = with_torch(frames, size)
    assert found.shape == (2, *size, 3)
    assert found.dtype == np.uint8
    for mine, frame in zip(found, frames, strict=True):
        theirs = np.asarray(Image.fromarray(frame).resize(size[::-1], Image.Resampling.BICUBIC))
        assert np.abs(mine.astype(int) - theirs).max() <= 2


@pytest.mark.parametrize("source", [(80, 120), (121, 163), (163, 121), (50, 97), (90, 48)])
def test_cropping_equals_clips_own_preprocessing_within_two_levels(source):
    theirs = CLIPImageProcessorPil(
        do_normalize=False,
        do_rescale=False,
        size={"shortest_edge": 48},
        crop_size={"height": 48, "width": 48},
    )
    frames = pictures(*source)
    found = cropping(with_torch)(frames, (48, 48))
    assert found.tobytes() == cropping(with_numpy)(frames, (48, 48)).tobytes()
    for mine, frame in zip(found, frames, strict=True):
        wanted = theirs(images=frame, return_tensors="np")["pixel_values"][0]
        assert np.abs(mine.transpose(2, 0, 1).astype(int) - wanted).max() <= 2


@pytest.mark.parametrize("size", [(30, 60), (60, 30)])
def test_cropping_covers_any_shape_and_keeps_the_middle(size):
    frames = np.zeros((1, 60, 60, 3), np.uint8)
    frames[:, 30:, 30:] = 255
    found = cropping(with_numpy)(frames, size)[0, ..., 0]
    assert found.shape == size
    assert found[: size[0] // 2 - 4].max() == found[:, : size[1] // 2 - 4].max() == 0
    assert found[size[0] // 2 + 4 :, size[1] // 2 + 4 :].min() == 255


@pytest.mark.parametrize("resize", [with_torch, with_numpy])
def test_each_frame_by_itself(resize):
    frames = pictures(90, 130)
    together = resize(frames, (56, 56))
    assert np.array_equal(together[1], resize(frames[1:], (56, 56))[0])


@pytest.mark.parametrize("resize", [with_torch, with_numpy])
def test_the_right_size_is_left_alone(resize):
    frames = pictures(56, 56)
    assert resize(frames, (56, 56)) is frames


side = st.integers(1, 96) | st.integers(1, 700)


@settings(max_examples=150, deadline=None)
@given(height=side, width=side, target=st.tuples(side, side), data=st.integers(0, 2**32))
def test_numpy_has_the_bytes_of_torch(height, width, target, data):
    random = np.random.default_rng(data)
    noise = random.integers(0, 256, (1, height, width, 3), np.uint8)
    for frames in (noise, np.where(noise > 127, np.uint8(255), np.uint8(0))):
        assert np.array_equal(with_numpy(frames, target), with_torch(frames, target))


@pytest.mark.parametrize(
    ("source", "size"),
    [((1080, 1920), (448, 448)), ((16, 3000), (28, 28)), ((28, 28), (448, 1024)), ((1, 1), (9, 2))],
)
def test_numpy_has_the_bytes_of_torch_at_the_ends(source, size):
    frames = pictures(*source)
    assert np.array_equal(with_numpy(frames, size), with_torch(frames, size))


def test_numpy_has_the_bytes_of_torch_on_real_clips(shared):
    av = pytest.importorskip("av")
    clips = sorted((shared / "clips").glob("*.mp4"))
    assert clips
    for clip in clips:
        with av.open(str(clip)) as file:
            for number, frame in enumerate(file.decode(video=0)):
                if number % 40 == 0:
                    frames = frame.to_ndarray(format="rgb24")[None]
                    for size in ((56, 56), (448, 448)):
                        expected = with_torch(frames, size)
                        assert np.array_equal(with_numpy(frames, size), expected)
                if number > 200:
                    break


def test_torch_is_for_long_work_and_where_it_is(monkeypatch):
    assert resizer(56 * 56) is with_numpy
    assert resizer(module._TORCH_PAYS + 1) is with_torch

    def without_torch(name, *rest):
        if name == "torch":
            raise ImportError(name)
        return real(name, *rest)

    real = builtins.__import__
    monkeypatch.delitem(sys.modules, "torch")
    monkeypatch.setattr(builtins, "__import__", without_torch)
    assert resizer(module._TORCH_PAYS + 1) is with_numpy
