"""Step 4b: what is asked about a summary, and the number that is read from the answer."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hhvad.errors import DataError
from hhvad.methods.lavad.prompts import Rating
from hhvad.methods.lavad.summarise import Message

CHOICES = ("0", "0.1", "0.2", "0.3", "0.4", "0.5", "0.6", "0.7", "0.8", "0.9", "1")
_NUMBER = re.compile(r"\[(\d+(?:\.\d+)?)\]")


class Ratings(NamedTuple):
    """Per window: its score, and whether it was interpolated because its answer was unreadable."""

    scores: NDArray[np.float64]  # [C]
    interpolated: NDArray[np.bool_]  # [C]


def rate_messages(summary: str, rating: Rating) -> list[Message]:
    """The chat that asks for the number of a summary (which ends in a full stop)."""
    return [
        {"role": "system", "content": f"{rating.context} {rating.format}"},
        {"role": "user", "content": summary},
    ]
