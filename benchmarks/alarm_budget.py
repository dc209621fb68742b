"""Alarms on footage of three cameras at thresholds from a budget, and what two marks suppress.

    python benchmarks/alarm_budget.py score --work DIR [--seeds 1 2 3 4 5] [--cameras NAME...]
    python benchmarks/alarm_budget.py report --work DIR [--markdown FILE]

`score` draws and judges the footage of each seed and camera with the demo's detector, and keeps
the scores in DIR; what is there already is not computed again. `report` reads all that is there.

Footage is made of takes of a minute. All takes of a camera show the same street in the same light
at the same frame rate; who passes is drawn anew for each. Four sets per seed and camera:

- reference: 48 ordinary takes, for thresholds;
- ordinary: 24 takes, for false alarms;
- events: 9 takes with one event each, one of every kind of the demo, the unseen one included;
- swept: 5 ordinary takes and 9 with one event each; the street sweeper passes once in each.

A window is a take. The budgets of 1, 5 and 20 alarms a day of hour-long windows allow an alarm in
1, 5 and 20 of 24 windows. The windows here are minutes with the same share: minutes stand for
hours, and the alarms of 24 of them for those of a day.

Frames are drawn at 192 x 144, one of the demo's sizes, and resized to the 56 x 56 that the model
takes, without a video file in between.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

import hhvad
from hhvad.demo.scenes import (
    ANOMALY_KINDS,
    RECURRING_KIND,
    RECURRING_SECONDS,
    Happening,
    Scene,
    render,
)
from hhvad.localization import suppress
from hhvad.localization.budget import DAY, Budget, Footage, calibrate
from hhvad.localization.locator import events as events_above
from hhvad.media import samplers
from hhvad.media.resize import with_torch

DEMO = Path(hhvad.__file__).parent / "demo"
DRAWN = (192, 144)  # width and height
SIZE = (56, 56)
TAKE = 60.0  # seconds
BUDGETS = (1, 5, 20)  # windows with an alarm of 24
COUNTS = {"reference": 48, "ordinary": 24, "events": 9, "swept": 14}
FIRST_EVENT = {"events": 0, "swept": 5}  # number of the first take with an event
SIMILARITY = 0.93


@dataclass(frozen=True)
class Camera:
    """fps, brightness, and how many of which kinds of ordinary life a take shows."""

    fps: float
    light: float
    kinds: tuple[str, ...]
    crowd: int


CAMERAS = {
    "yard": Camera(30.0, 1.15, ("walking", "cyclists", "birds", "chatting"), 1),
    "square": Camera(25.0, 1.0, ("walking", "walking", "chatting", "cyclists", "traffic"), 4),
    "night": Camera(12.0, 0.7, ("headlights", "walking", "bus"), 2),
}


class Take(NamedTuple):
    """Segments [T, 2], scores [T] and expert features [T, D] of a minute; its event, or None."""

    bounds: np.ndarray
    scores: np.ndarray
    features: np.ndarray
    event: tuple[int, int] | None


def make_take(seed, camera, kind, number):
    """The scene of a take; the same arguments give the same scene."""
    look = CAMERAS[camera]
    place = list(CAMERAS).index(camera)
    rng = np.random.default_rng([seed, place, list(COUNTS).index(kind), number])
    kinds = [str(one) for one in rng.choice(look.kinds, look.crowd, replace=False)]
    if look.light < 1 and "headlights" not in kinds:
        kinds[0] = "headlights"  # it is what makes the street dark
    frames = int(TAKE * look.fps)
    happenings = ()
    first = FIRST_EVENT.get(kind)
    if first is not None and number >= first:
        what = kind_of(kind, number)
        start, length = rng.uniform(8, 35), rng.uniform(10, 20)
        happenings = (Happening(what, int(start * look.fps), int((start + length) * look.fps)),)
    scene = Scene(
        int(rng.integers(2**31)), *DRAWN, look.fps, frames, tuple(kinds), happenings,
        street=1000 * seed + place, light=look.light,
    )  # fmt: skip
    return replace(scene, kinds=(*kinds, RECURRING_KIND)) if kind == "swept" else scene


def judge(scenes, detector, engine):
    """The takes of scenes."""
    takes = []
    wanted = detector.sampling["frames_per_segment"], detector.sampling["segment_length"]
    for scene in scenes:
        bounds, indices = samplers.plan(scene.n_frames, "segments", *wanted)
        pictures = render(scene, indices.ravel().tolist())
        small = [with_torch(one[None], SIZE)[0] for one in pictures]
        clips = np.stack(small).reshape(*indices.shape, *SIZE, 3)
        (features,) = engine.capture(clips, [detector.prompt_text], heads=detector.experts)
        event = next(((h.start, h.end) for h in scene.happenings), None)
        flat = features.reshape(len(features), -1)
        takes.append(Take(bounds, detector.score(features), flat, event))
    return takes


def score(arguments):
    """Compute and keep what is not in the folder yet."""
    from hhvad import Detector
    from hhvad.mllm.engine import Engine

    detector = Detector.read(DEMO / "detector.h5")
    engine = Engine.load(str(DEMO / "model"), dtype="float32", device="cpu")
    for seed in arguments.seeds:
        for camera in arguments.cameras:
            for kind, count in COUNTS.items():
                path = arguments.work / f"{seed}-{camera}-{kind}.npz"
                if path.is_file():
                    continue
                started = time.process_time()
                scenes = [make_take(seed, camera, kind, number) for number in range(count)]
                write(path, judge(scenes, detector, engine))
                print(f"{path.name}: {time.process_time() - started:.0f} s", flush=True)


def write(path, takes):
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays = {
        "bounds": np.stack([one.bounds for one in takes]),
        "scores": np.stack([one.scores for one in takes]),
        "features": np.stack([one.features for one in takes]),
        "events": np.array([one.event or (-1, -1) for one in takes]),
    }
    unfinished = path.with_suffix(".new")
    with unfinished.open("wb") as file:
        np.savez(file, **arrays)
    unfinished.replace(path)


def read(path):
    with np.load(path) as data:
        arrays = [data[key] for key in ("bounds", "scores", "features", "events")]
    return [
        Take(bounds, scores, features, tuple(event) if event[0] >= 0 else None)
        for bounds, scores, features, event in zip(*arrays, strict=True)
    ]


def alarms(take, tau, locator):
    """The events above tau of a take."""
    return events_above(locator.smooth(take.scores, take.bounds), tau, take.bounds)


def touching(found, span):
    return [one for one in found if one.start < span[1] and span[0] < one.end]


def quality(ordinary, with_events, tau, fps, locator):
    """Windows with an alarm, events found, and delays in seconds until the segment has ended."""
    false = sum(bool(alarms(take, tau, locator)) for take in ordinary)
    delays = []
    for take in with_events:
        smoothed = locator.smooth(take.scores, take.bounds)
        inside = (take.bounds[:, 0] < take.event[1]) & (take.bounds[:, 1] > take.event[0])
        hits = np.flatnonzero(inside & (smoothed > tau))
        if len(hits):
            delays.append((take.bounds[hits[0], 1] - take.event[0]) / fps)
    return false, len(ordinary), len(with_events), delays


def suppression(sets, tau, fps, locator):
    """Of the swept takes: the sweeper's alarms after two marks, how many of them were suppressed,
    events found, and the kinds of those that are no longer shown.

    The first two alarms that only the sweeper raised are marked false.
    """
    usual = suppress.ordinary(np.concatenate([take.features for take in sets["reference"]]))
    sweep = [int(second * fps) for second in RECURRING_SECONDS]
    marks, counts, later, suppressed, found = [], [], 0, 0, 0
    hidden = Counter()
    for number, take in enumerate(sets["swept"]):
        events = alarms(take, tau, locator)
        spans = [(one.start, one.end) for one in events]
        vectors = suppress.vectors(take.features, take.bounds, spans, usual)
        known = suppress.Vectors(np.array(marks).reshape(-1, len(usual.centre)), np.array(counts))
        matches = suppress.suppressed(vectors, known, np.ones(len(marks), bool), SIMILARITY)
        true = touching(events, take.event) if take.event else []
        of_sweeper = [one in touching(events, sweep) and one not in true for one in events]
        found += bool(true)
        if true and all(
            match or one not in true for one, match in zip(events, matches, strict=True)
        ):
            hidden[kind_of("swept", number)] += 1
        for vector, count, match, is_its in zip(*vectors, matches, of_sweeper, strict=True):
            if is_its and len(marks) < 2:
                marks.append(vector)
                counts.append(count)
            elif is_its:
                later += 1
                suppressed += match is not None
    return later, suppressed, found, hidden


def kind_of(kind, number):
    """What happens in a take."""
    return ANOMALY_KINDS[(number - FIRST_EVENT[kind]) % len(ANOMALY_KINDS)]


def thresholds(reference, fps, locator):
    """Of each rule and budget the threshold of each camera."""
    footage = {
        camera: [
            Footage(locator.smooth(one.scores, one.bounds), np.diff(one.bounds)[:, 0] / fps[camera])
            for one in takes
        ]
        for camera, takes in reference.items()
    }
    found = {}
    for budget in BUDGETS:
        for rule, pool in (("per camera", "camera"), ("pooled", "all")):
            wanted = Budget(budget / 24 * DAY / TAKE, TAKE, pool=pool)
            made = calibrate(footage, wanted, fixed=locator.tau)
            found[rule, budget] = {camera: made.of(camera).tau for camera in footage}
    found["calibrated", None] = dict.fromkeys(footage, locator.tau)
    return found


def report(work):
    """Lines of Markdown."""
    from hhvad import Detector

    locator = Detector.read(DEMO / "detector.h5").locator
    fps = {name: camera.fps for name, camera in CAMERAS.items()}
    names = [(name, kind) for name in CAMERAS for kind in COUNTS]
    seeds = sorted({int(path.name.split("-")[0]) for path in work.glob("*.npz")})
    seeds = [
        seed for seed in seeds
        if all((work / f"{seed}-{name}-{kind}.npz").is_file() for name, kind in names)
    ]  # fmt: skip
    rows, marks = {}, {}
    alone = {kind: [0, 0] for kind in ANOMALY_KINDS}
    for seed in seeds:
        sets = {name: {k: read(work / f"{seed}-{name}-{k}.npz") for k in COUNTS} for name in fps}
        reference = {name: sets[name]["reference"] for name in fps}
        for name in fps:
            for number, take in enumerate(sets[name]["events"]):
                count = alone[kind_of("events", number)]
                count[0] += bool(touching(alarms(take, locator.tau, locator), take.event))
                count[1] += 1
        found = thresholds(reference, fps, locator)
        for (rule, budget), taus in found.items():
            for name, tau in taus.items():
                one = quality(sets[name]["ordinary"], sets[name]["events"], tau, fps[name], locator)
                rows.setdefault((budget or 0, rule, name), []).append((tau, *one))
                if rule != "pooled":
                    got = suppression(sets[name], tau, fps[name], locator)
                    marks.setdefault((budget or 0, rule), []).append(got)
    lines = [f"Seeds {' '.join(map(str, seeds))}.", ""]
    lines += ["| threshold | camera | windows with an alarm, of 24 | false alarms per hour "
              "| recall | delay (s) | tau, lowest to highest |"]  # fmt: skip
    lines.append("|---|---|---|---|---|---|---|")
    for budget, rule in sorted({(key[0], key[1]) for key in rows}):
        label = f"budget {budget}, {rule}" if budget else "calibrated tau"
        for name in (*fps, "all"):
            some = [
                one
                for key, several in rows.items()
                if key[:2] == (budget, rule) and name in (key[2], "all")
                for one in several
            ]
            taus = [one[0] for one in some]
            false, windows, events = (sum(one[i] for one in some) for i in (1, 2, 3))
            delays = [delay for one in some for delay in one[4]]
            share = false / windows
            error = np.sqrt(share * (1 - share) / windows)
            delay = f"{np.median(delays):.1f}" if delays else "-"
            lines.append(
                f"| {label} | {name} | {24 * share:.1f} ± {24 * error:.1f} "
                f"| {share * 3600 / TAKE:.1f} | {len(delays)}/{events} ({len(delays) / events:.2f})"
                f" | {delay} | {min(taus):.3f} to {max(taus):.3f} |"
            )
    lines += ["", "| threshold | sweeper's alarms after two marks | suppressed "
              "| events found | no longer shown |", "|---|---|---|---|---|"]  # fmt: skip
    for (budget, rule), some in sorted(marks.items()):
        label = f"budget {budget}, {rule}" if budget else "calibrated tau"
        later, gone, found = (sum(one[i] for one in some) for i in range(3))
        hidden = sum((one[3] for one in some), Counter())
        part = f"{gone} ({gone / later:.0%})" if later else "-"
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(hidden.items()))
        kinds = f": {kinds}" if kinds else ""
        lines.append(f"| {label} | {later} | {part} | {found} | {hidden.total()}{kinds} |")
    lines += ["", "Events found without the sweeper, of each kind, at the calibrated tau: "
              + ", ".join(f"{kind} {found[0]} of {found[1]}" for kind, found in alone.items())
              + "."]  # fmt: skip
    return lines


def main(words=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("step", choices=("score", "report"))
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    parser.add_argument("--cameras", nargs="+", choices=CAMERAS, default=list(CAMERAS))
    parser.add_argument("--markdown", type=Path)
    arguments = parser.parse_args(words)
    if arguments.step == "score":
        score(arguments)
        return
    text = "\n".join(report(arguments.work)) + "\n"
    if arguments.markdown:
        arguments.markdown.write_text(text)
    else:
        print(text, end="")


if __name__ == "__main__":
    main()
