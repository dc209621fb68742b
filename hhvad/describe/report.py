"""What was said of a video and its events, beside what the detector found."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hhvad.describe.ask import Answered, agreement
from hhvad.describe.plan import Picked
from hhvad.errors import ArtifactError


def groups(picked: Sequence[Picked]) -> dict[int, tuple[int, int]]:
    """The described events by number, frames [start, end) without the margin: of their clips."""
    found: dict[int, tuple[int, int]] = {}
    for one in picked:
        if one.unit.level == "clip":
            start, end = found.get(one.unit.event, (one.unit.start, one.unit.end))
            found[one.unit.event] = (min(start, one.unit.start), max(end, one.unit.end))
    return found


def summary(
    events: Sequence[Mapping[str, Any]],
    merged: Mapping[int, tuple[int, int]],
    said: Sequence[Answered],
    seconds: Callable[[int], float],
) -> dict[str, Any]:
    """`about` the video, and `events` with their sentences; events described as one share them.

    Raises ArtifactError where an event was not described.
    """
    described = []
    for event in events:
        start, end = event["start_frame"], event["end_frame"]
        number = next((n for n, (a, b) in merged.items() if a <= start and end <= b), None)
        if number is None:
            raise ArtifactError(
                f"event {start}-{end} has no description: events and focus are of two runs; "
                "delete the focus file and rerun"
            )
        clips = [
            {
                "start_seconds": seconds(one.start),
                "end_seconds": seconds(one.end),
                "text": one.answer,
            }
            for one in said
            if one.level == "clip" and one.event == number
        ]
        sentences = _sentences(said, "event", number, found=True)
        described.append({**event, **sentences, "clips": clips})
    return {
        "about": _sentences(said, "video", -1, found=bool(events)),
        "events": described,
    }


def _sentences(said: Sequence[Answered], level: str, event: int, *, found: bool) -> dict[str, Any]:
    """The answers about one event or the video, and whether the judgement is the detector's."""
    answers = {
        one.question: one.answer
        for one in said
        if (one.level, one.event) == (level, event) and one.question != "clip"
    }
    try:
        return {"agreement": agreement(answers["judgement"], found), **answers}
    except KeyError as error:
        raise ArtifactError(f"{level} {event} has no {error.args[0]}; delete its texts") from None


def sentence(entry: Mapping[str, Any]) -> str:
    """What the viewer shows of an event or video: all that was said, and a disagreement."""
    judged = {
        "disagrees": f"[the model, asked independently, disagrees: {entry['judgement']}]",
        "unclear": f"[the model, asked independently, is unclear: {entry['judgement']}]",
    }.get(entry["agreement"], "")
    texts = (entry["description"].strip(), entry["analysis"].strip())
    said = [text if text[-1] in ".!?" else f"{text}." for text in texts if text]
    return " ".join([*said, *filter(None, [judged])])
