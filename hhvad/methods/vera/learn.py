"""VERA's questions, learnt: the frozen model itself writes better ones for videos it got wrong.

In each step the model sees two labelled videos and what it said of them, and writes new questions;
how well these tell normal from anomalous validation videos decides whether they are kept. No weight
changes. The model comes as two functions, so that this is arithmetic on texts and numbers.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from hhvad.errors import DataError
from hhvad.methods.vera.settings import Questions

MOST = 5  # questions
LONGEST = 200  # characters of a question

# The wording of the step, ours.
STEP = (
    "Somebody looks at videos and wants to know which of them show something abnormal. These "
    "questions guide the look:\n{questions}\n"
    "The first half of these pictures is of a video that is {first}; with the questions it was "
    "taken for abnormal with {p:.0%}. The second half is of a video that is {second}; it was taken "
    "for abnormal with {q:.0%}. Write up to five questions, one per line, that tell such videos "
    "apart better."
)

# What a question says of videos: the probability of anomaly of each.
Judge = Callable[[Questions, Sequence[str]], Sequence[float]]
# What the model writes when it sees two videos and a text.
Write = Callable[[str, Sequence[str]], str]


@dataclass(frozen=True)
class Labelled:
    """Videos by id, with their labels: True for anomalous ones."""

    videos: tuple[str, ...]
    anomalous: tuple[bool, ...]

    def of(self, anomalous: bool) -> list[str]:
        """Those of a class."""
        pairs = zip(self.videos, self.anomalous, strict=True)
        return [video for video, found in pairs if found is anomalous]


@dataclass(frozen=True)
class Step:
    """What was tried: questions, and how well they do on the validation videos.

    written is False where the model's text held no question; then nothing was tried. kept: whether
    these are the best so far.
    """

    number: int
    questions: tuple[str, ...]
    auc: float
    loss: float
    written: bool
    kept: bool

    def to_json(self) -> dict[str, Any]:
        """As a line of a journal."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Step:
        """The inverse of to_json."""
        return cls(**{**data, "questions": tuple(data["questions"])})


def learn(
    start: Questions,
    training: Labelled,
    validation: Labelled,
    judge: Judge,
    write: Write,
    *,
    steps: int,
    seed: int,
    known: Sequence[Step] = (),
    done: Callable[[Step], None] = lambda step: None,
) -> tuple[Questions, list[Step]]:
    """The best questions of `steps` tries, and the tries; number 0 is `start` itself.

    Each try goes on from the best before it, with a normal and an anomalous training video that
    the seed and its number choose. known: tries of an interrupted run, which are not made again.
    done: called after each new one. Raises DataError where a class has no video.
    """
    for split, videos in (("calibration", training), ("validation", validation)):
        if not videos.of(True) or not videos.of(False):
            raise DataError(
                f"split {split} needs a normal and an anomalous video: questions are learnt on "
                "both; add rows"
            )
    tried = list(known)
    if not tried:
        tried.append(_judged(0, start, validation, judge, None))
        done(tried[0])
    best = [step for step in tried if step.kept][-1]
    for number in range(len(tried), steps + 1):
        current = with_questions(start, best.questions)
        random = np.random.default_rng([seed, number])
        pair = [str(random.choice(training.of(anomalous))) for anomalous in (False, True)]
        p, q = judge(current, pair)
        order = [0, 1] if random.random() < 0.5 else [1, 0]
        labels, said = ("normal", "abnormal"), (p, q)
        text = STEP.format(
            questions=current.listed,
            first=labels[order[0]],
            p=said[order[0]],
            second=labels[order[1]],
            q=said[order[1]],
        )
        found = read_questions(write(text, [pair[at] for at in order]))
        if found:
            step = _judged(number, with_questions(start, found), validation, judge, best)
        else:
            step = Step(number, best.questions, best.auc, best.loss, written=False, kept=False)
        tried.append(step)
        done(step)
        best = step if step.kept else best
    return with_questions(start, best.questions), tried


def with_questions(start: Questions, questions: Sequence[str]) -> Questions:
    """The same file with other guiding questions."""
    return start.model_copy(update={"questions": tuple(questions)})


def _judged(
    number: int, asked: Questions, validation: Labelled, judge: Judge, best: Step | None
) -> Step:
    """How well questions do; kept where AUC is higher, or as high with a smaller loss."""
    likely = np.clip(np.asarray(judge(asked, validation.videos), float), 1e-6, 1 - 1e-6)
    truth = np.array(validation.anomalous)
    pairs = likely[truth][:, None] - likely[~truth][None, :]
    auc = float((pairs > 0).mean() + 0.5 * (pairs == 0).mean())
    loss = float(-np.log(np.where(truth, likely, 1 - likely)).mean())
    kept = best is None or (auc, -loss) > (best.auc, -best.loss)
    return Step(number, asked.questions, auc, loss, written=True, kept=kept)


def read_questions(text: str) -> tuple[str, ...]:
    """The questions in what a model wrote: lines that end in a question mark, without their marks.

    At most five, each once. What could be taken for a model's special token or for a place in a
    wording is no question.
    """
    found = []
    for line in text.splitlines():
        bare = re.sub(r"^\s*(?:[-*•]|\(?\d{1,2}[.):])?\s*", "", line).strip().strip('"*').strip()
        if bare.endswith("?") and 8 <= len(bare) <= LONGEST and not set(bare) & set("<>{}|"):
            found.append(bare)
    return tuple(dict.fromkeys(found))[:MOST]
