"""Motion of segments, and scores from it: arrays only."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hhvad.errors import DataError

Floats = NDArray[np.float64]


def energy(frames: NDArray[np.uint8]) -> float:
    """Mean absolute difference of neighbouring frames uint8 [F, H, W, 3], from 0 to 255.

    0 where there is one frame only.
    """
    if len(frames) < 2:
        return 0.0
    steps = np.abs(np.diff(frames.astype(np.int16), axis=0))
    return float(steps.mean())


def score(motion: Floats, calibration: Sequence[Floats], quantile: float) -> Floats:
    """Motion [T] as scores from 0 to 1, scaled by that of the calibration videos' segments.

    1 is what a share `quantile` of those does not exceed. Raises DataError where nothing moves
    there.
    """
    everything = np.concatenate([np.zeros(0), *calibration])
    scale = float(np.quantile(everything, quantile)) if len(everything) else 0.0
    if not scale > 0:
        raise DataError(
            "the calibration videos show no motion to scale scores by; add calibration videos"
        )
    return np.asarray(np.clip(motion / scale, 0.0, 1.0))
