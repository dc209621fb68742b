"""The questions to a model about clips, events and videos, and how its judgement is read."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from hhvad.describe.plan import Unit

ASKED = {
    "clip": ("clip",),
    "event": ("judgement", "description", "analysis"),
    "video": ("judgement", "description", "analysis"),
}
LOWER = {"event": "clip", "video": "event"}

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

    def row(self) -> dict[str, object]:
        """As it is written."""
        return asdict(self)


def parts_of(unit: Unit, lower: Sequence[Answered]) -> list[str]:
    """The texts of the level below that belong to a unit: those of its clips, or of all events."""
    return [
        one.answer
        for one in lower
        if one.level == LOWER.get(unit.level)
        and one.question in ("clip", "description")
        and (unit.level == "video" or one.event == unit.event)
    ]


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
