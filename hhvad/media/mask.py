"""Hide parts of pictures from the models, and show a person what is hidden.

Polygons are filled before the picture is resized: no hidden pixel then has a part in any pixel that
a model sees. The colour is the same for all frames, so that it tells nothing of what it hides and
does not change with the light. It is the mean that processors subtract: InternVL's own, and within
one level of 255 of CLIP's and Qwen's, so that a model sees zeros there. A processor's own mean
would be no better, and models of one frame size would no longer share their frames.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from hhvad.masks import Polygon

COLOUR = (124, 116, 104)  # red, green, blue: ImageNet's mean
LINE = (255, 0, 200)  # around what is hidden, in pictures for people

Picture = NDArray[np.uint8]


def hide(pictures: Iterable[Picture], polygons: Sequence[Polygon]) -> Iterator[Picture]:
    """Upright pictures uint8 [H, W, 3] with the polygons filled; all have the same size."""
    hidden: NDArray[np.bool_] | None = None
    colour = np.array(COLOUR, np.uint8)
    for picture in pictures:
        if hidden is None:
            hidden = inside(polygons, *picture.shape[:2])[..., None]
        yield np.where(hidden, colour, picture)


def draw(picture: Picture, polygons: Sequence[Polygon]) -> Picture:
    """A picture uint8 [H, W, 3] for people: what is hidden faint and framed by a line."""
    hidden = inside(polygons, *picture.shape[:2])
    padded = np.pad(hidden, 1)
    inner = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    drawn = picture.copy()
    drawn[hidden] = (picture[hidden].astype(np.uint16) + 3 * np.array(COLOUR, np.uint16)) // 4
    drawn[hidden & ~inner] = LINE
    return drawn


def inside(polygons: Sequence[Polygon], height: int, width: int) -> NDArray[np.bool_]:
    """The pixels [height, width] whose centres lie in a polygon (x and y from 0 to 1)."""
    hidden = np.zeros((height, width), bool)
    columns = (np.arange(width) + 0.5) / width
    rows = (np.arange(height) + 0.5) / height
    for polygon in polygons:
        odd = np.zeros_like(hidden)  # a point inside has an odd number of sides at its left
        for (x, y), (other_x, other_y) in zip(polygon, [*polygon[1:], polygon[0]], strict=True):
            crossed = np.flatnonzero((rows < y) != (rows < other_y))
            if len(crossed):
                at = x + (rows[crossed] - y) / (other_y - y) * (other_x - x)
                odd[crossed] ^= columns > at[:, None]
        hidden |= odd
    return hidden
