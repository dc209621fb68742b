"""The wordings that we ship; config/prompts-lavad.yaml holds the same and may be changed."""

from __future__ import annotations

from typing import NamedTuple


class Rating(NamedTuple):
    """The two parts of the system message that asks for a number."""

    context: str
    format: str


SUMMARISE = (
    "You read captions of moments of one video, in order of time. "
    "Say in one short sentence what happens, and leave out what does not matter."
)
FORMAT = (
    "Answer only with one of the numbers 0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1 "
    "in square brackets."
)
# The answers that `answers.number: expected` weighs.
CHOICES = ("[0]", *(f"[0.{tenth}]" for tenth in range(1, 10)), "[1]")
RATE = {
    "rate-ucf": Rating(
        "You are a police officer at a surveillance monitor. How much does this event call for "
        "you, from 0 for daily life to 1 for a crime or an accident?",
        FORMAT,
    ),
    "rate-xd": Rating(
        "How likely is it that this event is violent, dangerous or against the law, from 0 for "
        "certainly not to 1 for certainly?",
        FORMAT,
    ),
    "rate-any": Rating(
        "How abnormal is this event in its place, from 0 for daily life to 1 for an incident that "
        "somebody must attend to?",
        FORMAT,
    ),
}
