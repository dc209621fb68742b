"""The masks file: per camera, the parts of the picture that no model may see.

    door:
      - [[0.7, 0.1], [0.95, 0.1], [0.95, 0.35], [0.7, 0.35]]
    yard: []

A polygon is a list of corners [x, y] in parts of the upright picture's width and height, from its
upper left corner. Every camera of the sheet has an entry, an empty one where nothing is hidden.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

from hhvad.errors import ConfigError

Polygon = tuple[tuple[float, float], ...]
Polygons = tuple[Polygon, ...]

_PARTS = 1_000_000  # coordinates are rounded to a millionth of the picture
_Point = tuple[int, int]


def read(path: str | Path) -> dict[str, Polygons]:
    """The polygons of each camera. Raises ConfigError, which names camera, polygon and corner."""
    from hhvad.config import read_yaml  # here: the jobs of videos need no pydantic

    data = read_yaml(path)
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: not a list of cameras; write CAMERA: [[[x, y], ...], ...]")
    return {
        str(camera): parse(polygons, f"{path}: camera {camera}")
        for camera, polygons in data.items()
    }


def parse(data: Any, where: str) -> Polygons:
    """A camera's polygons, checked. `where` opens the message of the ConfigError."""
    if not isinstance(data, list):
        raise ConfigError(
            f"{where}: its polygons are {data!r}; give a list of them, [] where nothing is hidden"
        )
    return tuple(
        _polygon(one, f"{where}: polygon {number}") for number, one in enumerate(data, start=1)
    )


def require_cameras(masks: Mapping[str, Polygons], cameras: Iterable[str], where: str) -> None:
    """Raise ConfigError where the masks file and the sheet name different cameras."""
    known = sorted(set(cameras))
    unknown = [camera for camera in masks if camera not in known]
    if unknown:
        raise ConfigError(
            f"{where} has camera {unknown[0]!r}, which no row of the sheet has; the sheet's "
            f"cameras are {', '.join(known)}"
        )
    lacking = [camera for camera in known if camera not in masks]
    if lacking:
        raise ConfigError(
            f"{where} lacks camera {lacking[0]!r} of the sheet; add it, as `{lacking[0]}: []` "
            "where nothing of it is hidden"
        )


def to_text(polygons: Sequence[Polygon]) -> str:
    """Polygons as the flag --mask takes them."""
    return json.dumps(polygons, separators=(",", ":"))


def from_text(text: str | None) -> Polygons:
    """The inverse of to_text; none for None. Raises ConfigError."""
    try:
        return () if text is None else parse(json.loads(text), "--mask")
    except json.JSONDecodeError as error:
        raise ConfigError(f"--mask is {text!r}; it is a list of polygons as JSON") from error


def _polygon(data: Any, where: str) -> Polygon:
    if not isinstance(data, list):
        raise ConfigError(f"{where} is {data!r}; it is a list of corners [x, y]")
    corners = [_corner(one, f"{where}: corner {i}") for i, one in enumerate(data, start=1)]
    if len(corners) > 1 and corners[0] == corners[-1]:
        corners.pop()  # closed, as GeoJSON writes it
    if len(corners) < 3:
        raise ConfigError(f"{where} has {len(corners)} corners; it needs three or more")
    crossing = _crossing([(_whole(x), _whole(y)) for x, y in corners])
    if crossing:
        first, second = crossing
        raise ConfigError(
            f"{where} touches or crosses itself: the side after corner {first} and the side after "
            f"corner {second}; order its corners along its border"
        )
    return tuple(corners)


def _corner(data: Any, where: str) -> tuple[float, float]:
    is_pair = isinstance(data, list) and len(data) == 2
    if not is_pair or not all(type(one) in (int, float) and 0 <= one <= 1 for one in data):
        raise ConfigError(
            f"{where} is {data!r}; it is [x, y], both from 0 to 1 of the upright picture"
        )
    x, y = (_whole(one) / _PARTS for one in data)
    return x, y


def _whole(value: float) -> int:
    """A coordinate in millionths: whether lines cross is then computed without rounding."""
    return round(value * _PARTS)


def _crossing(corners: Sequence[_Point]) -> tuple[int, int] | None:
    """Two sides of a polygon, counted from 1, that share more than their common corner."""
    count = len(corners)
    sides = [(corners[i], corners[(i + 1) % count]) for i in range(count)]
    for (i, (a, b)), (j, (c, d)) in combinations(enumerate(sides), 2):
        if j == i + 1 or (i == 0 and j == count - 1):
            before, shared, after = (a, b, d) if j == i + 1 else (c, a, b)
            folded = _turn(before, shared, after) == 0 and _dot(shared, before, after) >= 0
            if folded:
                return i + 1, j + 1
        elif _meet(a, b, c, d):
            return i + 1, j + 1
    return None


def _turn(a: _Point, b: _Point, c: _Point) -> int:
    """Above 0 where c lies left of the line from a to b, 0 on it, below 0 right of it."""
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])


def _dot(origin: _Point, a: _Point, b: _Point) -> int:
    return sum((a[k] - origin[k]) * (b[k] - origin[k]) for k in (0, 1))


def _meet(a: _Point, b: _Point, c: _Point, d: _Point) -> bool:
    """Whether the sides a-b and c-d have a point in common."""
    turns = _turn(a, b, c), _turn(a, b, d), _turn(c, d, a), _turn(c, d, b)
    signs = [(turn > 0) - (turn < 0) for turn in turns]
    if signs[0] * signs[1] < 0 and signs[2] * signs[3] < 0:
        return True
    ends = ((a, b, c), (a, b, d), (c, d, a), (c, d, b))
    return any(
        sign == 0 and _dot(end, first, second) <= 0
        for sign, (first, second, end) in zip(signs, ends, strict=True)
    )
