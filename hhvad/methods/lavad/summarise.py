"""Step 4a: what is asked about the captions of a window, and what is kept of the answer."""

from __future__ import annotations

from collections.abc import Sequence

Message = dict[str, str]


def join_captions(captions: Sequence[str]) -> str:
    """The user's turn: one caption per line, joined as the official code does."""
    return "\n ".join(captions)


def summarise_messages(captions: str, system: str) -> list[Message]:
    """The chat that asks for a summary of joined captions."""
    return [{"role": "system", "content": system}, {"role": "user", "content": captions}]


def summary_of(answer: str, *, exact: bool = False) -> str:
    """The part of an answer that is kept: its last line that is not blank, stripped.

    exact: what follows the last newline, as the official code has it. That is nothing where an
    answer ends in a newline.
    """
    kept = answer if exact else answer.rstrip()
    kept = kept.rpartition("\n")[2]
    return kept if exact else kept.strip()
