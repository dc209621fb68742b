"""The one resize of a frame, to the size that the model wants: bicubic, antialiased, on bytes.

Two ways to the same bytes. torch is several times faster, but importing it takes over a second,
more than the rest of a sampling job of a short clip; and light environments have no torch. So numpy
repeats the arithmetic of torch's byte kernel: whole-number weights, first along the rows, then
along the columns, each time rounded to bytes. The floats hold all its sums exactly.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Frames = NDArray[np.uint8]
Resize = Callable[[Frames, tuple[int, int]], Frames]

# About so many pixels of the source cost numpy as much extra time as the import of torch.
_TORCH_PAYS = 80_000_000
_BLOCK = 16  # target pixels a matrix product; larger blocks multiply more zeros


def resizer(pixels: int) -> Resize:
    """The quicker of `with_numpy` and `with_torch` for so many pixels of the source in all."""
    if pixels > _TORCH_PAYS:
        try:
            import torch  # noqa: F401
        except ImportError:
            return with_numpy
        return with_torch
    return with_numpy


def cropping(resize: Resize) -> Resize:
    """`resize`, but without a change of shape: to cover the size, then cut to its middle.

    As the preprocessing of CLIP: what a wide picture shows at its sides is not seen.
    """

    def cropped(frames: Frames, size: tuple[int, int]) -> Frames:
        (height, width), (high, wide) = frames.shape[1:3], size
        if high * width >= wide * height:
            covering = high, width * high // height
        else:
            covering = height * wide // width, wide
        top, left = (covering[0] - high) // 2, (covering[1] - wide) // 2
        return resize(frames, covering)[:, top : top + high, left : left + wide]

    return cropped


def with_torch(frames: Frames, size: tuple[int, int]) -> Frames:
    """Frames uint8 [N, H, W, 3] as uint8 [N, *size, 3], `size` being (height, width).

    Within 2 of 255 of Pillow's BICUBIC. Each frame by itself, so that batches change nothing.
    Frames of the wanted size come back as they are.
    """
    import torch

    if frames.shape[1:3] == tuple(size):
        return frames
    # A permuted view is what torch calls channels-last: nothing is copied.
    pictures = torch.from_numpy(frames).permute(0, 3, 1, 2)
    small = torch.nn.functional.interpolate(
        pictures, size=tuple(size), mode="bicubic", antialias=True
    )
    return np.ascontiguousarray(small.permute(0, 2, 3, 1).numpy())


def with_numpy(frames: Frames, size: tuple[int, int]) -> Frames:
    """As `with_torch`, byte for byte."""
    height, width = size
    if frames.shape[1:3] == (height, width):
        return frames
    result = np.empty((len(frames), height, width, 3), np.uint8)
    for picture, target in zip(frames, result, strict=True):
        planes = picture.transpose(2, 0, 1)
        if width != planes.shape[2]:
            planes = _weighted(planes, width, axis=2)
        if height != planes.shape[1]:
            planes = _weighted(planes, height, axis=1)
        for colour, plane in enumerate(planes):  # by one, else numpy goes pixel by pixel
            target[:, :, colour] = plane
    return result


class _Weights(NamedTuple):
    """Of `_BLOCK` target pixels after another: the source pixels they are made of, and how."""

    blocks: list[tuple[slice, slice, NDArray[Any]]]  # target, source, weights [source, target]
    scale: float  # by which the whole-number weights are too large


def _weighted(planes: Frames, length: int, axis: int) -> Frames:
    """Planes [3, H, W] with H (axis 1) or W (axis 2) brought to `length`."""
    weights = _weights(planes.shape[axis], length)
    kind = weights.blocks[0][2].dtype
    source = planes.astype(kind, order="C")
    shape = list(planes.shape)
    shape[axis] = length
    sums = np.empty(shape, kind)
    for target, used, block in weights.blocks:
        if axis == 1:
            np.matmul(block.T, source[:, used], out=sums[:, target])
        else:
            np.matmul(source[:, :, used], block, out=sums[:, :, target])
    sums *= kind.type(1 / weights.scale)
    sums += kind.type(0.5)
    np.clip(sums, 0, 255, out=sums)
    return sums.astype(np.uint8)


@lru_cache(16)
def _weights(source: int, target: int) -> _Weights:
    """The weights of torch's kernel, which follows Pillow's: a cubic with a = -0.5.

    The cubic is stretched where the picture shrinks. Weights are as large as 16 bits allow.
    """
    ratio = source / target
    stretch = max(ratio, 1.0)
    centres = ratio * (np.arange(target) + 0.5)
    first = np.maximum((centres - 2 * stretch + 0.5).astype(np.int64), 0)
    end = np.minimum((centres + 2 * stretch + 0.5).astype(np.int64), source)
    taps = first[:, None] + np.arange((end - first).max())
    x = np.abs((taps - centres[:, None] + 0.5) * (1 / stretch))
    near = (1.5 * x - 2.5) * x * x + 1
    far = (((x - 5) * x + 8) * x - 4) * -0.5
    shares = np.where(x < 1, near, np.where(x < 2, far, 0.0))
    shares[taps >= end[:, None]] = 0
    shares /= np.cumsum(shares, axis=1)[:, -1:]  # summed one after the other, as torch does

    largest, bits = shares.max(), 0
    while bits < 22 and int(0.5 + largest * 2 ** (bits + 1)) < 2**15:
        bits += 1
    whole = np.trunc(shares * 2**bits + np.copysign(0.5, shares))
    # Sums of bytes times weights, and half a level: does a float32 hold all of them?
    single = 255 * np.abs(whole).sum(axis=1).max() + 2**bits < 2**24
    blocks = []
    for start in range(0, target, _BLOCK):
        rows = slice(start, min(start + _BLOCK, target))
        used = slice(int(first[rows].min()), int(end[rows].max()))
        block = np.zeros((used.stop - used.start, rows.stop - start), "f4" if single else "f8")
        inside = taps[rows] < end[rows, None]
        column = np.broadcast_to(np.arange(len(inside))[:, None], inside.shape)
        block[taps[rows][inside] - used.start, column[inside]] = whole[rows][inside]
        blocks.append((rows, used, block))
    return _Weights(blocks, 2.0**bits)
