"""Sampled answers (top-p), a random stream for each: none depends on what else is asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hhvad.errors import ModelError


@dataclass(frozen=True)
class Sampling:
    """How answers are drawn.

    temperature: divides the logits, above 0. top_p: only the likeliest tokens are drawn that
    together first reach this probability. seeds: one per answer. Raises ModelError.
    """

    temperature: float
    top_p: float
    seeds: Sequence[int]

    def __post_init__(self) -> None:
        if not 0 < self.temperature < float("inf") or not 0 < self.top_p <= 1:
            raise ModelError(
                f"temperature is {self.temperature} and top_p {self.top_p}: sampling needs a "
                "temperature above 0 and a top_p above 0, at most 1"
            )


class Choice:
    """Chooses the next token of each row of a batch: the likeliest, or one drawn by `sampling`.

    rows: the numbers of the batch's answers, for their seeds.
    """

    def __init__(self, sampling: Sampling | None, rows: Sequence[int]) -> None:
        self.sampling = sampling
        self.streams = (
            [torch.Generator().manual_seed(sampling.seeds[row]) for row in rows] if sampling else []
        )

    def __call__(self, logits: Tensor) -> Tensor:
        """The token of each row [rows] from its logits [rows, vocabulary], on their device."""
        if self.sampling is None:
            return logits.argmax(dim=-1)
        draws = [torch.rand((), generator=stream, dtype=torch.float64) for stream in self.streams]
        return draw(logits, torch.stack(draws), self.sampling)


def draw(logits: Tensor, draws: Tensor, sampling: Sampling) -> Tensor:
    """The tokens at which the cumulative top-p distributions pass `draws` [rows], of [0, 1).

    Tokens are ordered by falling probability, equal ones by number.
    """
    probabilities = torch.softmax(logits.double() / sampling.temperature, dim=-1)
    probabilities, tokens = probabilities.sort(dim=-1, descending=True, stable=True)
    before = probabilities.cumsum(dim=-1) - probabilities
    kept = probabilities * (before < sampling.top_p)
    reached = kept.cumsum(dim=-1)
    # A draw of a hair below 1 must not land behind the last kept token.
    wanted = draws.to(logits.device)[:, None] * reached[:, -1:]
    place = (reached <= wanted).sum(dim=-1, keepdim=True)
    place = torch.minimum(place, (kept > 0).sum(dim=-1, keepdim=True) - 1)
    return tokens.gather(-1, place)[:, 0]
