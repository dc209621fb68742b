"""What fewer frames a segment cost: HeadHunt's AUC on datasets of several seeds.

    python benchmarks/fewer_frames.py [--seeds 101 102 103 104 105] [--markdown FILE]

As demo_quality.py, which explains the datasets: experts are identified and the locator is
calibrated with that many of a segment's 48 frames, and the test videos are judged with as many. The
seconds are those of capturing all segments of the test videos with the demo's model, side by side
in one run.
"""

from __future__ import annotations

import argparse
import datetime
import platform
import tempfile
import time
from pathlib import Path

import numpy as np
import yaml
from demo_quality import EXPERTS, PROMPTS, SEEDS, SIZE, Judge, decoded, detector

from hhvad import checkpoint
from hhvad.demo.encode import encode
from hhvad.demo.lessons import SEGMENT
from hhvad.demo.plan import scenes
from hhvad.localization import locator
from hhvad.media import samplers as sampling
from hhvad.methods.headhunt import rhi, saliency
from hhvad.mllm.engine import Engine

FRAMES = (8, 4, 2, 1)


def sampled(seed: int) -> dict[int, dict]:
    """By number of frames, of each video: split, scene, segments [S, 2], frames [S, F, ...]."""
    found = {count: {} for count in FRAMES}
    with tempfile.TemporaryDirectory() as folder:
        for name, (split, scene) in scenes(seed).items():
            path = Path(folder) / f"{name}.mp4"
            encode(scene, path)
            view = "video" if split == "calibration" else "segments"
            plans = {n: sampling.plan(scene.n_frames, view, n, SEGMENT) for n in FRAMES}
            wanted = np.unique(np.concatenate([indices.ravel() for _, indices in plans.values()]))
            pictures = decoded(path, wanted.tolist())
            path.unlink()
            for count, (segments, indices) in plans.items():
                clips = pictures[np.searchsorted(wanted, indices.ravel())]
                clips = clips.reshape(*indices.shape, *SIZE, 3)
                found[count][name] = split, scene, segments, clips
    return found


def measure(videos: dict, engine: Engine) -> tuple[dict[str, float], float]:
    """AUCs of smoothed scores, and seconds for the segments of the test videos."""
    asked = yaml.safe_load(PROMPTS.read_text())
    prompts = asked["prompts"]
    first = [v for v in videos.values() if v[0] == "calibration"]
    labels = np.array([bool(scene.happenings) for _, scene, _, _ in first], dtype=np.int64)
    calibration = engine.capture(np.concatenate([v[3] for v in first]), list(prompts.values()))
    rss = rhi.robust_saliency(
        rhi.normalise(np.stack([saliency.score_heads(x, labels) for x in calibration]))
    )
    experts = rhi.top_heads(rss, EXPERTS)
    text, online = prompts[asked["online"]], list(prompts).index(asked["online"])
    features, seconds = {}, 0.0
    for name, (split, _, _, clips) in videos.items():
        if split != "calibration":
            began = time.monotonic()
            features[name] = engine.capture(clips, [text])[0]
            seconds += (time.monotonic() - began) * (split == "test")
    raw = detector(calibration[online], labels, features, experts)
    validation = [n for n, v in videos.items() if v[0] == "validation"]
    truth = [
        locator.frame_counts(videos[n][2], [(h.start, h.end) for h in videos[n][1].happenings])
        for n in validation
    ]
    best = locator.calibrate([raw[n] for n in validation], truth)
    judge = Judge(videos)
    return judge({n: locator.smooth(raw[n], best.sigma) for n in judge.test}), seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument("--markdown", type=Path)
    given = parser.parse_args()
    engine = Engine.load(str(checkpoint.resolve("demo")), dtype="float32", device="cpu", threads=1)
    found: dict[int, list] = {count: [] for count in FRAMES}
    for seed in given.seeds:
        videos = sampled(seed)
        for count in FRAMES:
            found[count].append(measure(videos[count], engine))
            print(seed, count, found[count][-1], flush=True)

    def cell(values: list[float]) -> str:
        spread = f" ± {np.std(values, ddof=1):.3f}" if len(values) > 1 else ""
        return f"{np.mean(values):.3f}{spread}"

    full = [auc["all"] for auc, _ in found[FRAMES[0]]]
    lines = [
        f"{datetime.date.today()}, {platform.machine()}, one thread; seeds "
        f"{', '.join(map(str, given.seeds))}, mean ± standard deviation; made by "
        "`benchmarks/fewer_frames.py`, which says what is measured.",
        "",
        "| frames of 48 | frame AUC | abnormal videos alone | less than with 8 | seconds of "
        "capture |",
        "|---|---|---|---|---|",
    ]
    for count in FRAMES:
        aucs = [auc for auc, _ in found[count]]
        less = [a - b["all"] for a, b in zip(full, aucs, strict=True)]
        seconds = np.mean([seconds for _, seconds in found[count]])
        both = cell([one["all"] for one in aucs]), cell([one["abnormal"] for one in aucs])
        lines.append(f"| {count} | {both[0]} | {both[1]} | {cell(less)} | {seconds:.1f} |")
    text = "\n".join([*lines, ""])
    print(text)
    if given.markdown:
        given.markdown.write_text(text)


if __name__ == "__main__":
    main()
