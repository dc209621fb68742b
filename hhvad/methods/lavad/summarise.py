"""Step 4a: what is asked about the captions of a window, and what is kept of the answer."""

from __future__ import annotations

from collections.abc import Sequence

Message = dict[str, str]


def join_captions(captions: Sequence[str]) -> str:
    """The user's turn: one caption per line, as the official code joins them."""
    return "\n ".join(captions)


def summarise_messages(captions: str, system: str) -> list[Message]:
    """The chat that asks for a summary of joined captions."""
    return [{"role": "system", "content": system}, {"role": "user", "content": captions}]


def summary_of(answer: str) -> str:
    """The part of an answer that is kept: its last line, stripped.

    Trailing blank lines do not count. The official code keeps what follows the last newline, which
    is nothing where an answer ends with one.
    """
    return answer.rstrip().rpartition("\n")[2].strip()
