"""Step 4b: what is asked about a summary, and the number that is read from the answer."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hhvad.errors import DataError
from hhvad.methods.lavad.prompts import CHOICES, Rating
from hhvad.methods.lavad.summarise import Message

_NUMBER = re.compile(r"\[(\d+(?:\.\d+)?)\]")


class Ratings(NamedTuple):
    """Per window: its score, and whether it was interpolated because its answer was unreadable."""

    scores: NDArray[np.float64]  # [C]
    interpolated: NDArray[np.bool_]  # [C]


def rate_messages(summary: str, rating: Rating) -> list[Message]:
    """The chat that asks for the number of a summary (as `rated_text` gives it)."""
    return [
        {"role": "system", "content": f"{rating.context} {rating.format}"},
        {"role": "user", "content": summary},
    ]


def rated_text(summary: str) -> str:
    """The user's turn: the summary and a full stop, as the official code has it."""
    return summary + "."


def read_number(answer: str, *, exact: bool = False) -> float | None:
    """The first number in square brackets, without spaces in them; None where there is none.

    A number above 1 is no score, so it is None as well. exact: it is taken, as officially.
    """
    found = _NUMBER.search(answer)
    if found is None:
        return None
    value = float(found[1])
    return value if exact or value <= 1 else None


def rate_windows(numbers: Sequence[float | None], where: str) -> Ratings:
    """Scores of all windows, unreadable ones interpolated linearly over the window's number.

    The first and last readable scores are held towards the ends.
    where: the video, opens the message of the DataError that is raised if no number is readable.
    """
    known = np.array([number is not None for number in numbers], dtype=bool)
    if not known.any():
        raise DataError(
            f"{where}: none of the {len(numbers)} answers of the LLM holds a number in square "
            "brackets; correct the rating prompt, or take another LLM"
        )
    at = np.flatnonzero(known)
    values = [number for number in numbers if number is not None]
    scores = np.interp(np.arange(len(numbers)), at, values)
    return Ratings(scores, ~known)


def expected_numbers(logits: NDArray[np.floating], where: str) -> NDArray[np.float64]:
    """The expected number of each window from the logits [C, 11] of the CHOICES as answers.

    A logit is the sum of log probabilities of an answer's tokens.
    where: the video, opens the message of the DataError that is raised unless each window has
    eleven finite ones.
    """
    if logits.ndim != 2 or logits.shape[1] != len(CHOICES) or not np.isfinite(logits).all():
        raise DataError(
            f"{where}: log-probabilities of the numbers have shape {list(logits.shape)} or are not "
            f"finite; {len(CHOICES)} finite ones per window are needed: take another dtype or LLM"
        )
    weights = np.exp(logits - logits.max(axis=1, keepdims=True), dtype=np.float64)
    numbers = np.arange(len(CHOICES)) / (len(CHOICES) - 1)
    return np.asarray(weights @ numbers / weights.sum(axis=1))
