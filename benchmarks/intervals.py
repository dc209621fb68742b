"""How often the 95 % intervals hold the truth, on simulated videos.

    python benchmarks/intervals.py [--draws 400] [--resamples 200] [--seed 0] [--videos 15 30 100]

Half of the videos are abnormal, each with one event. A segment's score is a shift of its video
(standard deviation: 0, 1 or 2 times that of the noise), noise, and a step where it is anomalous,
such that AUC is near the one asked for. A second method has 0.85 of the step; half of the variance
of its shifts and of its noise is shared with the first. The truth comes from 30 000 videos. Single
metrics are the first method's; percentile intervals stand beside for comparison.
"""

from __future__ import annotations

import argparse
import math
import time
from collections import Counter
from itertools import product

import numpy as np
from scipy.special import expit
from scipy.stats import norm

from hhvad.evaluation import intervals, metrics
from hhvad.localization import locator

VIDEOS = (15, 30, 100)
SHIFTS = (0.0, 1.0, 2.0)
AUCS = (0.75, 0.97)
TRUTH_VIDEOS = 30_000
FRAMES = 10  # of a segment
SHORTEST, LONGEST = 12, 30  # segments of a video
METRICS = ("auc", "ap_step", "event_map")


def simulate(videos, abnormal, shift, target, random):
    """Bounds, anomalous events and two methods' scores of each video, and the threshold of each."""
    step = math.sqrt(2 * (1 + shift**2)) * norm.ppf(target)
    result = []
    for index in range(videos):
        count = int(random.integers(SHORTEST, LONGEST + 1))
        anomalous = np.zeros(count)
        events = ()
        if index < abnormal:
            length = int(random.integers(3, 9))
            start = int(random.integers(0, count - length + 1))
            anomalous[start : start + length] = 1
            events = ((FRAMES * start, FRAMES * (start + length)),)
        both = []
        shared = random.standard_normal(count + 1)
        for part in (1.0, 0.85):
            own = math.sqrt(0.5) * (shared + random.standard_normal(count + 1))
            both.append(shift * own[0] + own[1:] + part * step * anomalous)
        result.append((events, anomalous, both))
    return result, (step / 2, 0.85 * step / 2)


def statistics_of(videos, taus):
    """Every metric of both methods, and their differences, as a function of weights [V]."""
    starts = FRAMES * np.arange(LONGEST)
    every = np.stack([starts, starts + FRAMES], axis=1)
    anomalous = np.concatenate([one for _, one, _ in videos])
    video = np.repeat(np.arange(len(videos)), [len(one) for _, one, _ in videos])
    tables = []
    for method, tau in enumerate(taus):
        scores = [both[method] for _, _, both in videos]
        ranking = metrics.rank(
            video, np.concatenate(scores), FRAMES * anomalous, FRAMES * (1 - anomalous)
        )
        found = [locator.events(locator.smooth(one, 1.0), tau, every[: len(one)]) for one in scores]
        matches = metrics.match_events(
            [[(e.start, e.end, float(expit(e.peak))) for e in one] for one in found],
            [events for events, _, _ in videos],
        )
        tables.append((ranking, matches))

    def statistics(weights):
        result = {}
        for method, (ranking, matches) in zip("ab", tables, strict=True):
            counts = ranking.counts(weights)
            result[f"auc {method}"] = metrics.auc(*counts)
            result[f"ap_step {method}"] = metrics.ap_step(*counts)
            result[f"event_map {method}"] = float(metrics.event_ap(matches, weights).mean())
        for name in METRICS:
            result[f"{name} a - b"] = result[f"{name} a"] - result[f"{name} b"]
        return result

    return statistics


def one_draw(videos, statistics, abnormal, arguments, seed):
    """For each metric: the interval's ends and kind, and the percentile interval."""
    estimates = metrics.bootstrap(statistics, videos, arguments.resamples, seed)
    without = intervals.leave_out(statistics, videos)
    fewest = min(abnormal, videos - abnormal)
    found = {}
    for name in METRICS:
        ends = {}
        for method in "ab":
            key = f"{name} {method}"
            value, *drawn, _ = estimates[key]
            ends[method] = intervals.choose(value, without[key], drawn, fewest=fewest)
        found[name] = (*ends["a"], *estimates[f"{name} a"][1:3])
        difference = None
        if all(one.kind != "none" for one in ends.values()):
            difference = intervals.paired_difference(
                *(estimates[f"{name} {method}"].value for method in "ab"),
                *(ends[method][:2] for method in "ab"),
                *(without[f"{name} {method}"] for method in "ab"),
            )
        kind = "none" if difference is None else "mover"
        low, high = difference or (None, None)
        found[f"{name} a - b"] = (low, high, kind, *estimates[f"{name} a - b"][1:3])
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=400)
    parser.add_argument("--resamples", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--videos", type=int, nargs="+", default=VIDEOS)
    arguments = parser.parse_args()
    names = [f"{name}{suffix}" for suffix in ("", " a - b") for name in METRICS]
    started = time.process_time()
    print(f"{arguments.draws} draws, {arguments.resamples} resamples, seed {arguments.seed}\n")
    print(f"| videos | shift | AUC | {' | '.join(names)} | kinds other than jackknife |")
    print("|" + "---|" * (len(names) + 4), flush=True)
    truths = {}
    worst = dict.fromkeys(names, 1.0)
    for videos, target, shift in product(arguments.videos, AUCS, SHIFTS):
        abnormal = videos // 2
        case = (abnormal / videos, target, shift)
        if case not in truths:
            random = np.random.default_rng([arguments.seed, 1])
            many = simulate(TRUTH_VIDEOS, round(TRUTH_VIDEOS * case[0]), shift, target, random)
            truths[case] = statistics_of(*many)(np.ones(TRUTH_VIDEOS))
        truth = truths[case]
        held, percentile, kinds = Counter(), Counter(), Counter()
        for draw in range(arguments.draws):
            random = np.random.default_rng([arguments.seed, 2, draw])
            sample = simulate(videos, abnormal, shift, target, random)
            found = one_draw(videos, statistics_of(*sample), abnormal, arguments, draw)
            for name, (low, high, kind, p_low, p_high) in found.items():
                true = truth[name if name.endswith("b") else f"{name} a"]
                held[name] += low is not None and low <= true <= high
                percentile[name] += p_low <= true <= p_high
                if kind not in ("jackknife", "mover"):
                    kinds[f"{name} {kind}"] += 1
        cells = []
        for name in names:
            share = held[name] / arguments.draws
            worst[name] = min(worst[name], share)
            cells.append(f"{share:.3f} ({percentile[name] / arguments.draws:.3f})")
        other = ", ".join(f"{name}: {count}" for name, count in sorted(kinds.items()))
        print(
            f"| {videos} | {shift:g} | {truth['auc a']:.3f} | {' | '.join(cells)} | {other} |",
            flush=True,
        )
    lowest = ", ".join(f"{name} {share:.3f}" for name, share in worst.items())
    print(f"\nLowest: {lowest}. {time.process_time() - started:.0f} s of one core.")


if __name__ == "__main__":
    main()
