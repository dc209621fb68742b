"""Speed and exactness of the evaluator on the real annotations.

    python benchmarks/evaluate.py ../shared/data/annotations [--resamples 1000] [--length 48]

Seeded scores of 48-frame segments that know a little, for all videos of UCF-Crime and XD-Violence.
Plain metrics include events, categories, single videos and the degenerate baselines; times are of
one core (process time), metrics alone, files read. "Expanded" is scikit-learn on every frame.
"""

from __future__ import annotations

import argparse
import platform
import time
from pathlib import Path

import numpy as np
from sklearn.metrics import average_precision_score, roc_auc_score

from hhvad.artifacts import scores
from hhvad.datasets import annotation as datasets
from hhvad.datasets import ucf_crime, xd_violence
from hhvad.evaluation import evaluate
from hhvad.localization import locator

FILES = {"ucf-crime": "Temporal_Anomaly_Annotation.txt", "xd-violence": "annotations.txt"}


def annotations(folder, dataset):
    path = folder / dataset / FILES[dataset]
    counts = datasets.read_frame_counts(folder / dataset / "test_frame_counts.tsv")
    found = ucf_crime.read(path) if dataset == "ucf-crime" else xd_violence.read(path, counts)
    return datasets.with_frames(found, counts, folder)


def made_up(found, length):
    """Scores that are higher in anomalous frames, with noise."""
    random = np.random.default_rng(0)
    given = {}
    for one in found:
        starts = np.arange(0, one.n_frames, length)
        bounds = np.stack([starts, np.minimum(starts + length, one.n_frames)], axis=1)
        counts = locator.frame_counts(bounds, one.events)
        noise = 0.3 * random.standard_normal(len(bounds))
        values = np.clip(0.4 + 0.2 * counts[:, 1] / counts.sum(axis=1) + noise, 0, 1)
        given[one.video] = scores.Segments(bounds, values)
    return given


def timed(function):
    start = time.process_time()
    result = function()
    return result, time.process_time() - start


def expanded(videos):
    labels, values = [], []
    for one in videos:
        label = np.zeros(one.n_frames)
        for start, end in one.events:
            label[start:end] = 1
        labels.append(label)
        values.append(np.repeat(one.scores, one.bounds[:, 1] - one.bounds[:, 0]))
    y, s = np.concatenate(labels), np.concatenate(values)
    return roc_auc_score(y, s), average_precision_score(y, s)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("annotations", type=Path, help="folder with ucf-crime/ and xd-violence/")
    parser.add_argument("--resamples", type=int, default=1000)
    parser.add_argument("--length", type=int, default=48, help="frames a segment")
    arguments = parser.parse_args()
    print(f"{platform.processor() or platform.machine()}, numpy {np.__version__}, one core\n")
    print("| dataset | videos | segments | frames | plain | bootstrap | expanded | difference |")
    print("|---|---|---|---|---|---|---|---|")
    for dataset in FILES:
        found = annotations(arguments.annotations, dataset)
        given = made_up(found, arguments.length)
        videos, _, _ = evaluate.join(found, given, source="made up", tau=0.5)
        plain, seconds = timed(lambda v=videos: evaluate.evaluate(v, tau=0.5, resamples=0))
        _, long = timed(
            lambda v=videos: evaluate.evaluate(v, tau=0.5, resamples=arguments.resamples)
        )
        expected, slow = timed(lambda v=videos: expanded(v))
        ours = plain["metrics"]["auc"]["value"], plain["metrics"]["ap_step"]["value"]
        difference = max(abs(a - b) for a, b in zip(ours, expected, strict=True))
        rows = sum(len(one.scores) for one in videos)
        print(
            f"| {dataset} | {len(videos)} | {rows} | {plain['frames']['scored']} | {seconds:.2f} s "
            f"| {arguments.resamples} resamples: {long:.1f} s | {slow:.2f} s | {difference:.1e} |"
        )


if __name__ == "__main__":
    main()
