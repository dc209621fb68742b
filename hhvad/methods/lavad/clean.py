"""Step 3: each sampled frame takes the caption of the whole video that fits it best."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hhvad.errors import DataError
from hhvad.methods.lavad.index import Floats
from hhvad.methods.lavad.windows import Windows


class Cleaned(NamedTuple):
    """Per window, for each sampled frame: the caption chosen (its row) and its cosine."""

    chosen: list[NDArray[np.int64]]
    cosines: list[Floats]


def nearest_captions(
    windows: Windows, frames: NDArray[np.int64], frame_vectors: Floats, caption_vectors: Floats
) -> Cleaned:
    """The caption nearest to each sampled frame of each window.

    frames [G], increasing: the frames that frame_vectors [G, D] belong to. caption_vectors [U, D]:
    one per unique caption. Both sets are unit vectors. Equal cosines: the earlier caption.

    Raises DataError where a window needs a frame that has no vector, or widths differ.
    """
    if not len(caption_vectors):
        raise DataError("there are no captions to choose from; the captioner wrote none")
    if frame_vectors.shape[-1] != caption_vectors.shape[-1]:
        raise DataError(
            f"frame vectors have {frame_vectors.shape[-1]} numbers and caption vectors "
            f"{caption_vectors.shape[-1]}: they are of two encoders"
        )
    cosines = frame_vectors @ caption_vectors.T
    best = cosines.argmax(axis=1)
    rows = [rows_of(wanted, frames) for wanted in windows.frames]
    return Cleaned(
        [best[r].astype(np.int64) for r in rows],
        [cosines[r, best[r]].astype(np.float32) for r in rows],
    )


def rows_of(wanted: NDArray[np.int64], frames: NDArray[np.int64]) -> NDArray[np.int64]:
    """The rows of `wanted` among `frames` (increasing); DataError where one is absent."""
    rows = np.searchsorted(frames, wanted)
    absent = rows >= len(frames)
    absent[~absent] = frames[rows[~absent]] != wanted[~absent]
    if absent.any():
        raise DataError(
            f"frame {int(wanted[np.argmax(absent)])} has no vector; embed the frames of this "
            "stride and window again"
        )
    return rows
