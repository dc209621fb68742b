"""How often ordinary windows raise an alarm at thresholds from a budget, on simulated scores.

    python benchmarks/budget.py [--draws 2000] [--seed 0] [--kinds KIND...] [--counts N...]

Each row has random numbers of its own: a run of some rows gives the same ones.

A window is an hour of 6 segments of ten minutes; the budget is 2 alarms a day, so alpha is 1/12.
Each draw makes n reference windows and a threshold, and judges 200 ordinary windows that are drawn
alike. Then 1 % of the reference windows hold an event that nobody noticed, whose segments score
above everything ordinary; drop_top leaves out as many of the largest maxima as there are events.
"""

from __future__ import annotations

import argparse
import math
import time

import numpy as np

from hhvad.localization.budget import Budget, Footage, calibrate

KINDS = ("heavy-tailed", "bimodal", "constant")
COUNTS = (20, 50, 200, 1000, 2000)
SEGMENTS = 6
FRESH = 200
PER_DAY = 2.0


def scores_of(kind, random, windows):
    """Scores [windows, SEGMENTS]: Pareto of infinite variance, two humps, or one value."""
    shape = (windows, SEGMENTS)
    if kind == "heavy-tailed":
        return random.pareto(1.1, shape)
    if kind == "bimodal":
        return np.where(random.random(shape) < 0.05, 5.0, 0.0) + random.random(shape)
    return np.full(shape, 0.3)


def one_draw(kind, windows, events, drop_top, random):
    """The share of FRESH ordinary windows above the threshold of a camera."""
    scores = scores_of(kind, random, windows)
    if events:
        scores[random.choice(windows, events, replace=False), 0] = 1e12
    footage = Footage(scores.ravel(), np.full(scores.size, 3600.0 / SEGMENTS))
    wanted = Budget(PER_DAY, 3600.0, drop_top, pool="camera")
    tau = calibrate({"camera": [footage]}, wanted, fixed=0.5).cameras["camera"].tau
    return float((scores_of(kind, random, FRESH).max(axis=1) > tau).mean())


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--counts", nargs="+", type=int, default=COUNTS)
    arguments = parser.parse_args()
    started = time.process_time()
    alpha = Budget(PER_DAY).alpha
    print(f"{arguments.draws} draws, seed {arguments.seed}; alpha is {alpha:.4f}\n")
    print("| scores | n | alarms | known share | 1 % events | 1 % events, drop_top |")
    print("|---|---|---|---|---|---|", flush=True)
    for kind in arguments.kinds:
        for windows in arguments.counts:
            rank = math.ceil((windows + 1) * (1 - alpha) - 1e-9)
            known = 0 if kind == "constant" else 1 - rank / (windows + 1)
            events = max(1, windows // 100)
            cells = []
            for hidden, dropped in ((0, 0), (events, 0), (events, events)):
                random = np.random.default_rng([arguments.seed, windows, hidden, dropped])
                shares = [
                    one_draw(kind, windows, hidden, dropped, random) for _ in range(arguments.draws)
                ]
                error = np.std(shares) / math.sqrt(len(shares))
                cells.append(f"{np.mean(shares):.4f} ± {error:.4f}")
            print(f"| {kind} | {windows} | {cells[0]} | {known:.4f} | {cells[1]} | {cells[2]} |",
                  flush=True)  # fmt: skip
    print(f"\n± is one standard error. {time.process_time() - started:.0f} s of one core.")


if __name__ == "__main__":
    main()
