"""The unique texts of a video, and who says each first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hhvad.errors import DataError

Floats = NDArray[np.float32]


class Entry(NamedTuple):
    """A text, the first frame that has it, and the first source that says it there."""

    text: str
    frame: int
    source: str


def unique_texts(said: Mapping[str, Sequence[tuple[int, str]]]) -> list[Entry]:
    """One entry per unique text, in order of first frames, then of sources.

    said: per source (a captioner) its (frame, text) pairs. The order of sources decides where two
    say the same at one frame.
    """
    order = [
        (frame, number, place, text, source)
        for number, (source, pairs) in enumerate(said.items())
        for place, (frame, text) in enumerate(pairs)
    ]
    found: dict[str, Entry] = {}
    for frame, _, _, text, source in sorted(order, key=lambda row: row[:3]):
        found.setdefault(text, Entry(text, frame, source))
    return list(found.values())


def unit(vectors: NDArray[np.floating], what: str = "vectors") -> Floats:
    """Vectors [N, D] as float32 of length 1. Raises DataError for one of no length or not finite.

    what: names them in that error.
    """
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=-1, keepdims=True)
    bad = ~np.isfinite(lengths[:, 0]) | (lengths[:, 0] == 0)
    if bad.any():
        raise DataError(
            f"{what}: vector {int(np.argmax(bad))} is zero or not finite, so it has no direction; "
            "embed them again"
        )
    return np.asarray(vectors / lengths, np.float32)
