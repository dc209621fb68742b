"""What an operator asks of alarms: how often they are false, and how soon they come.

An alarm is a run of neighbouring segments above a threshold. Every function takes a weight for each
video [V], as the metrics over frames do, so that one table serves every resample.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hhvad.evaluation.metrics import Floats, Ints, Ranking, ratio

RECALL = 0.8
Events = Sequence[tuple[int, int]]


@dataclass(frozen=True)
class Alarms:
    """The scores of normal videos as possible alarms, and when each event can be found.

    video, score and joint [N] are the segments of normal videos: joint is the lower score of a
    segment and of the one that it continues, -inf where it continues none. hours [V] is the length
    of each normal video, 0 for others and NaN where it is not known. event_video and event_score
    [E] are the annotated events and the highest score inside each. gain_video, gain_score and gain
    [R]: lowering the threshold to gain_score adds gain to the part of an event that is left when it
    is first found. events [V] counts them.
    """

    video: Ints
    score: Floats
    joint: Floats
    hours: Floats
    event_video: Ints
    event_score: Floats
    gain_video: Ints
    gain_score: Floats
    gain: Floats
    events: Floats

    def per_hour(self, weights: Floats, threshold: float, *, above: bool = True) -> float:
        """False alarms per hour of normal video; NaN without such video, or where no length is.

        above: scores above the threshold give alarms; else those that reach it.
        """
        each = weights[self.video]
        if above:
            starts = (self.score > threshold) & ~(self.joint > threshold)
        else:
            starts = (self.score >= threshold) & ~(self.joint >= threshold)
        return ratio(float(each @ starts), float(weights @ self.hours))

    def threshold_of_recall(self, weights: Floats, recall: float = RECALL) -> float:
        """The highest threshold that this share of the events reaches; NaN where there is none."""
        each = weights[self.event_video]
        if not each.sum():
            return float("nan")
        order = np.argsort(-self.event_score, kind="stable")
        reached = np.cumsum(each[order]) >= recall * each.sum() - 1e-9
        score = float(self.event_score[order][np.argmax(reached)])
        return score if np.isfinite(score) else float("nan")

    def per_hour_at_recall(self, weights: Floats, recall: float = RECALL) -> float:
        """False alarms per hour at the highest threshold that finds this share of the events."""
        threshold = self.threshold_of_recall(weights, recall)
        if not np.isfinite(threshold):
            return float("nan")
        return self.per_hour(weights, threshold, above=False)

    def latency_ap(self, weights: Floats, frames: Ranking, tp: Floats, fp: Floats) -> float:
        """Average precision in which a late alarm counts less.

        Recall at a threshold is the mean over the events of the share of an event that is left when
        it is first found: 1 at its first frame, 0 if it is missed. Precision is that of frames.
        Summed step by step, from the highest score down. frames: the ranking that has tp and fp [G]
        as its cumulative counts under these weights.
        """
        total = float(weights @ self.events)
        if not total or not fp[-1]:
            return float("nan")
        # Scores fall along the ranking: the group of a gain is the one of its score.
        group = np.searchsorted(-frames.scores, -self.gain_score)
        gains = np.bincount(group, weights[self.gain_video] * self.gain, minlength=len(tp))
        called = tp + fp
        precision = np.divide(tp, called, out=np.ones_like(tp), where=called > 0)
        return float(gains @ precision / total)


def table(
    bounds: Sequence[Ints],
    scores: Sequence[Floats],
    events: Sequence[Events | None],
    normal: NDArray[np.bool_],
    hours: Sequence[float],
) -> Alarms:
    """The alarms of videos: segments [T, 2] and scores [T] of each, its annotated events.

    events: None where a video has no frame annotation. normal [V]: which videos are. hours: how
    long each is, NaN where that is not known.
    """
    video, score, joint = [], [], []
    event_video, event_score, gains = [], [], []
    for index, (spans, values, known) in enumerate(zip(bounds, scores, events, strict=True)):
        if normal[index]:
            continues = np.append(False, spans[1:, 0] == spans[:-1, 1])
            video.append(np.full(len(values), index))
            score.append(values)
            before = np.append(-np.inf, values[:-1])
            joint.append(np.where(continues, np.minimum(values, before), -np.inf))
        for start, end in known or ():
            rows = np.flatnonzero((spans[:, 0] < end) & (spans[:, 1] > start))
            inside = values[rows]
            event_video.append(index)
            event_score.append(inside.max() if len(inside) else -np.inf)
            gains += [(index, *gain) for gain in _gains(inside, spans[rows, 0], start, end)]
    counts = np.array([len(known or ()) for known in events], dtype=np.float64)
    gain = np.array(gains, dtype=np.float64).reshape(-1, 3)
    return Alarms(
        np.concatenate([np.zeros(0, dtype=np.int64), *video]),
        np.concatenate([np.zeros(0), *score]),
        np.concatenate([np.zeros(0), *joint]),
        np.where(normal, np.asarray(hours, dtype=np.float64), 0.0),
        np.array(event_video, dtype=np.int64),
        np.array(event_score, dtype=np.float64),
        gain[:, 0].astype(np.int64),
        gain[:, 1],
        gain[:, 2],
        counts,
    )


def _gains(scores: Floats, starts: Ints, start: int, end: int) -> list[tuple[float, float]]:
    """(threshold, what it adds to the share of an event left at its first alarm), falling.

    At a threshold the first alarm is the first segment that reaches it, so only segments higher
    than all before them matter.
    """
    records: list[tuple[float, float]] = []
    for score, at in zip(scores.tolist(), starts.tolist(), strict=True):
        if not records or score > records[-1][0]:
            left = (end - max(start, at)) / (end - start)
            records.append((score, left))
    shares = [share for _, share in records]
    later = [*shares[1:], 0.0]
    return [(score, share - less) for (score, share), less in zip(records, later, strict=True)][
        ::-1
    ]
