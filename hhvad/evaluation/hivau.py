"""Answers beside HIVAU-70k's references, per level and task, with intervals over videos."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hhvad.errors import DataError
from hhvad.evaluation.captions import bleu_counts, bleu_of, score_texts, tokens

Floats = NDArray[np.float64]

_NO = re.compile(r"\b(no|not|none|nothing|without|normal|ordinary)\b|n't\b", re.IGNORECASE)
_YES = re.compile(r"\b(yes|abnormal\w*|anomal\w*|unusual|suspicious)\b", re.IGNORECASE)


class Answer(NamedTuple):
    """An answer, its reference, and whether its video is anomalous.

    An event of an anomalous video may be ordinary: what the reference says of it comes first.
    """

    level: str
    task: str
    video: str
    anomalous: bool
    reference: str
    text: str


def states_anomaly(text: str) -> bool | None:
    """Whether a text says that there is an anomaly, by the first clause that tells; else None."""
    for clause in re.split(r"[.;!?,]", text):
        if _NO.search(clause):
            return False
        if _YES.search(clause):
            return True
    return None


# METEOR of each answer, from these and their references, tokens joined by blanks.
Meteor = Callable[[Sequence[str], Sequence[str]], Sequence[float]]


def compare(
    answers: Sequence[Answer], *, bootstrap: int, seed: int, meteor: Meteor | None = None
) -> list[dict[str, Any]]:
    """A row per level and task: how many, values, and 95 % intervals over resampled videos.

    CIDEr-D's document frequencies are those of the row's own references; `texts` is their number.
    METEOR is the mean over texts. Raises DataError where there is no answer.
    """
    if not answers:
        raise DataError("there are no answers to score")
    rows = []
    for level, task in sorted({(one.level, one.task) for one in answers}):
        chosen = [one for one in answers if (one.level, one.task) == (level, task)]
        rows.append({"level": level, "task": task, **_row(chosen, bootstrap, seed, meteor)})
    return rows


def _row(
    chosen: Sequence[Answer], bootstrap: int, seed: int, meteor: Meteor | None
) -> dict[str, Any]:
    said = [tokens(one.text) for one in chosen]
    wanted = [[tokens(one.reference)] for one in chosen]
    scores = score_texts(said, wanted)
    counts = bleu_counts(said, wanted)
    means = {"rouge_l": scores.rouge_l_items, "cider": scores.cider_items}
    if meteor is not None:
        pairs = [" ".join(one) for one in said], [" ".join(one[0]) for one in wanted]
        means["meteor"] = np.asarray(meteor(*pairs), float)
    row: dict[str, Any] = {"texts": len(chosen), "videos": len({one.video for one in chosen})}
    if chosen[0].task == "judgement":
        stated = [states_anomaly(one.text) for one in chosen]
        truth = [states_anomaly(one.reference) for one in chosen]
        known = [
            one.anomalous if true is None else true for true, one in zip(truth, chosen, strict=True)
        ]
        means["accuracy"] = np.array([s is t for s, t in zip(stated, known, strict=True)], float)
        row["unreadable"] = stated.count(None)
    sums = {name: items[:, None] for name, items in means.items()} | {"bleu": counts}
    videos = list(dict.fromkeys(one.video for one in chosen))
    place = np.array([videos.index(one.video) for one in chosen])
    by_video = {
        name: np.stack([values[place == i].sum(axis=0) for i in range(len(videos))])
        for name, values in sums.items()
    }
    number = np.bincount(place).astype(np.float64)
    draws = np.random.default_rng(seed).integers(len(videos), size=(bootstrap, len(videos)))
    names = [f"bleu_{n}" for n in (1, 2, 3, 4)] + list(means)
    everything = np.arange(len(videos))
    values = _values(by_video, number, everything, list(means))
    resampled = np.array([_values(by_video, number, draw, list(means)) for draw in draws])
    for at, name in enumerate(names):
        row[name] = float(values[at])
        if bootstrap:
            low, high = np.percentile(resampled[:, at], (2.5, 97.5))
            row[f"{name}_interval"] = [float(low), float(high)]
    return row


def _values(
    by_video: dict[str, Floats], number: Floats, draw: NDArray[np.int64], means: list[str]
) -> Floats:
    """BLEU-1 to 4 and the means over the texts of the drawn videos."""
    total = number[draw].sum()
    found = [float(by_video[name][draw].sum() / total) for name in means]
    return np.array([*bleu_of(by_video["bleu"][draw].sum(axis=0)), *found])
