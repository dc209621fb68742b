"""What moved between two files of `make bench`; ends with 1 where something became worse.

    python benchmarks/moved.py OLD NEW [--tolerance 0.2]

A ratio is of a plain way's time to ours: larger is better, and it hardly depends on the machine.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping

from hhvad.files import read_json


def moved(
    old: Mapping[str, float], new: Mapping[str, float], tolerance: float
) -> Iterator[tuple[str, str]]:
    """Each ratio's name and what became of it."""
    for name in dict.fromkeys([*old, *new]):
        if name not in new:
            yield name, "not measured now"
        elif name not in old:
            yield name, f"{new[name]:.2f}, not measured before"
        else:
            change = new[name] / old[name] - 1
            word = "as before"
            if abs(change) > tolerance:
                word = "better" if change > 0 else "WORSE"
            yield name, f"{old[name]:.2f} -> {new[name]:.2f} ({change:+.0%}), {word}"


def main() -> int:
    """Print a line per ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("old")
    parser.add_argument("new")
    parser.add_argument("--tolerance", type=float, default=0.2, help="share of a ratio (0.2)")
    given = parser.parse_args()
    old, new = (read_json(path)["ratios"] for path in (given.old, given.new))
    lines = list(moved(old, new, given.tolerance))
    for name, what in lines:
        print(f"{name}: {what}")
    return int(any("WORSE" in what for _, what in lines))


if __name__ == "__main__":
    raise SystemExit(main())
