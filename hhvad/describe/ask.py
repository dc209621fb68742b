"""The questions to a model about clips, events and videos, and how its judgement is read."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from hhvad.describe.plan import Unit

ASKED = {
    "clip": ("clip",),
    "event": ("judgement", "description", "analysis"),
    "video": ("judgement", "description", "analysis"),
}

_YES = re.compile(r"\W*(yes|abnormal|anomal\w*)\b", re.IGNORECASE)
_NO = re.compile(r"\W*(no|normal|nothing)\b", re.IGNORECASE)


@dataclass(frozen=True)
class Answered:
    """A row of a file of schema `descriptions`.

    key: a digest of all that the answer follows from; cut: the limit ended it.
    """

    level: str
    event: int
    part: int
    start: int
    end: int
    question: str
    answer: str
    tokens: int
    cut: bool
    key: str


def parts_of(unit: Unit, lower: Sequence[Answered]) -> list[str]:
    """The texts below a unit: of an event's clips, or of a video's events.

    Of a video without events it is what was said of its own frames, where that was asked.
    """
    if unit.level == "event":
        return [one.answer for one in lower if one.level == "clip" and one.event == unit.event]
    events = [one for one in lower if one.level == "event" and one.question == "description"]
    return [one.answer for one in events or lower if one.level != "clip"]


def prompt(question: str, introduction: str, parts: Sequence[str]) -> str:
    """The question, with the texts of the parts behind it as a list; one line each."""
    if not parts:
        return question
    listed = [f"{number}. {' '.join(text.split())}" for number, text in enumerate(parts, start=1)]
    return "\n".join([question, introduction, *listed])


def judged(answer: str) -> bool | None:
    """Whether an answer says that something is wrong, by its first word; None: it does not say."""
    if _YES.match(answer):
        return True
    return False if _NO.match(answer) else None


def agreement(answer: str, found: bool) -> str:
    """`agrees`, `disagrees` or `unclear`: the model's own judgement beside the detector's."""
    verdict = judged(answer)
    if verdict is None:
        return "unclear"
    return "agrees" if verdict == found else "disagrees"
