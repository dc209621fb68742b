"""What each step of LAVAD is worth: the scores of a video without it, or with other values."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hhvad.methods.lavad import refine
from hhvad.methods.lavad.index import Floats

UNREFINED = "unrefined"
COUNTS = (1, 5, 10, 20)
TEMPERATURES = (1.0, 0.1, 0.05)


def refined_variants(
    queries: Floats,
    entries: Floats,
    entry_scores: NDArray[np.float64],
    scores: refine.Scores,
    *,
    share: float = 0.15,
) -> dict[str, refine.Scores]:
    """Scores [C] by variant name: unrefined, each K and temperature, and windows.

    queries [C, D]: window vectors; entries [U, D], entry_scores [U]: unique summaries; scores [C].
    Raw captions and no summaries need other answers of the LLM, so they are not made here.
    """  # fmt: skip
    found = {UNREFINED: scores}
    for temperature in TEMPERATURES:
        for k in COUNTS:
            found[f"summaries-k{k}-t{temperature:g}"] = refine.by_summaries(
                queries, entries, entry_scores, k=k, temperature=temperature
            )
        found[f"windows-t{temperature:g}"] = refine.by_windows(
            queries, scores, share=share, temperature=temperature
        )
    return found


def raw_captions(windows: list[list[int]], said: dict[int, str]) -> list[list[str]]:
    """The captions of each window's frames as the captioner wrote them, by frame in `said`.

    A frame between two captioned ones takes the caption before it.
    """
    frames = np.array(sorted(said))
    return [
        [said[int(frames[max(0, place)])] for place in frames.searchsorted(wanted, "right") - 1]
        for wanted in windows
    ]


def means_of(centres: NDArray[np.int64], numbers: NDArray[np.float64]) -> refine.Scores:
    """The mean number of each centre [C], from rows in the order of the centres."""
    _, places = np.unique(centres, return_inverse=True)
    return np.asarray(np.bincount(places, numbers) / np.bincount(places))
