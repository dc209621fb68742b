"""What each step of LAVAD is worth: the scores of a video without it, or with other values."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hhvad.methods.lavad import refine
from hhvad.methods.lavad.index import Floats

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
    found = {"unrefined": scores}
    for temperature in TEMPERATURES:
        for k in COUNTS:
            found[f"summaries-k{k}-t{temperature:g}"] = refine.by_summaries(
                queries, entries, entry_scores, k=k, temperature=temperature
            )
        found[f"windows-t{temperature:g}"] = refine.by_windows(
            queries, scores, share=share, temperature=temperature
        )
    return found
