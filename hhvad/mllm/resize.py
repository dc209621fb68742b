"""The one resize of a frame, to the size that the model wants: bicubic, antialiased, on bytes."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray


def resize(
    frames: NDArray[np.uint8], size: tuple[int, int], *, threads: int = 1
) -> NDArray[np.uint8]:
    """Frames uint8 [N, H, W, 3] as uint8 [N, *size, 3].

    Within 2 of 255 of Pillow's BICUBIC, at a fraction of its time: torch has a byte kernel for
    channels-last pictures. Frames of the wanted size come back as they are.
    """
    if frames.shape[1:3] == size:
        return frames
    torch.set_num_threads(threads)
    # A permuted view is what torch calls channels-last: nothing is copied.
    pictures = torch.from_numpy(frames).permute(0, 3, 1, 2)
    small = torch.nn.functional.interpolate(pictures, size=size, mode="bicubic", antialias=True)
    return np.ascontiguousarray(small.permute(0, 2, 3, 1).numpy())
