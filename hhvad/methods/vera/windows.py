"""The windows of a video, each with the frames that a model sees of it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hhvad.artifacts.ranges import Ranges, outside
from hhvad.errors import DataError
from hhvad.media.samplers import uniform
from hhvad.methods.lavad.windows import grid

Ints = NDArray[np.int64]


def around(
    n_frames: int, *, stride: int, length: int, samples: int, damaged: Ranges = ()
) -> tuple[Ints, Ints]:
    """Windows [C, 2] of `length` frames around every `stride`-th frame, and frames [C, samples].

    A window [c - length / 2, c + length / 2) is cut to the video; the centres of `samples` equal
    bins of its frames are seen, a short one's repeatedly. damaged: frames that nobody sees. Raises
    DataError where there is no window.
    """
    if length < 2:
        raise DataError(f"a window of {length} frames has no half; it must have at least 2")
    usable = outside(n_frames, damaged)
    spans, picked = [], []
    for centre in grid(n_frames, stride, damaged).tolist():
        low, high = max(centre - length // 2, 0), min(centre + length // 2, n_frames)
        inside = usable[slice(*np.searchsorted(usable, [low, high]))]
        spans.append((low, high))
        picked.append(inside[uniform(0, len(inside), samples)])
    return np.array(spans, np.int64).reshape(-1, 2), np.stack(picked)
