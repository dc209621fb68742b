"""Long scenes with one short event: what is named with focus, and with frames at equal distances.

    python benchmarks/focus.py [--scenes 56] [--normal 16] [--seed 500] [--markdown FILE]

Scenes of 60 to 90 seconds of the demo's kind, of a seed that nothing was made on; in each of the
first, one event of a trained kind lasts 2.5 to 4 s. The shipped detector (HeadHunt) scores each as
`hhvad detect` does. Eight frames of the whole scene are then chosen by these scores, as
`sample_focus` chooses them, and at equal distances; the demo's model is asked what happens in
them. An answer is right if it names the event's kind, or `normal` where there is none. The levels
below are those of `describe`: detected events that overlap the true one with 2 s on either side,
and their clips.
"""

from __future__ import annotations

import argparse
import datetime
import json
import platform
import sys
import tempfile
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np

from hhvad import checkpoint
from hhvad.cli import detect
from hhvad.demo.encode import encode
from hhvad.demo.plan import make_scene
from hhvad.demo.scenes import ANOMALY_KINDS, UNSEEN_KIND, Happening
from hhvad.describe import plan
from hhvad.describe.focus import Floor, choose, uniform
from hhvad.media.probe import probe, sample_frames
from hhvad.methods.headhunt.detector import Detector
from hhvad.mllm.engine import Engine

FRAMES = 8
KINDS = [kind for kind in ANOMALY_KINDS if kind != UNSEEN_KIND]
TAUGHT = "what happens here?"
HELD_OUT = ("Say in one sentence what the camera shows.", "What is going on in this video?")
WAYS = {
    "focus": {"floor": Floor(), "distinct": True},
    "focus, the paper's floor": {"floor": Floor("absolute", 0.1), "distinct": False},
}


def long_scene(seed: int, number: int, kind: str | None):
    """A scene of 60 to 90 seconds, with one event of 2.5 to 4 s where a kind is given."""
    rng = np.random.default_rng([seed, number])
    scene = make_scene(rng, None, longest=float(rng.uniform(60, 90)))
    if kind is None:
        return scene
    length = round(rng.uniform(2.5, 4.0) * scene.fps)
    start = int(rng.integers(scene.n_frames // 20, scene.n_frames - length - 5))
    return replace(scene, happenings=(Happening(kind, start, start + length),))


class Looker:
    """The demo's detector and model."""

    def __init__(self) -> None:
        how = argparse.Namespace(detector="demo", model=None, device="cpu", threads=1)
        path = detect.detector_file("demo")
        self.detector = Detector.read(path)
        self.engine = detect.load_engine(how, path, self.detector)
        folder = str(checkpoint.resolve("demo"))
        self.speaker = Engine.load(folder, dtype="float32", device="cpu", threads=1)

    def scores(self, path, info):
        """Segments, raw scores and events."""
        coming = self.detector.stream(path, info, None, threads=1, timeout=600)
        frames = np.stack(list(coming.frames))
        scores = self.detector.judge(self.engine, frames, coming.seconds)
        return coming.bounds, scores, self.detector.localize(scores, coming.bounds)

    def says(self, frames, question):
        """The kind that the model names of each [S, 8, 56, 56, 3]."""
        found = self.speaker.generate(frames, question, max_tokens=24, batch_size=8)
        return [one.text.split(":")[0].strip() for one in found]


def look(looker: Looker, scene, folder: Path) -> dict:
    """What is said of a scene, by way, level and wording."""
    path = folder / "scene.mp4"
    encode(scene, path)
    info = probe(path)
    bounds, scores, events = looker.scores(path, info)
    whole = (0, info.frames)
    units = {("uniform", "video"): (whole, uniform(info.frames, FRAMES))}
    for name, how in WAYS.items():
        units[name, "video"] = whole, choose(bounds, scores, whole, FRAMES, **how).frames
    truth = [(h.start, h.end) for h in scene.happenings]
    spans = [(one.start, one.end) for one in events]
    hits = [s for s in spans if any(s[0] < end and start < s[1] for start, end in truth)]
    for unit in plan.units(
        plan.merged(hits[:1], info.seconds, 1.0),
        info.frames,
        info.seconds,
        info.frame,
        clip_seconds=5.0,
        margin_seconds=2.0,
    ):
        if unit.level != "video" and ("focus", unit.level) not in units:
            span = unit.start, unit.end
            units["focus", unit.level] = span, choose(bounds, scores, span, FRAMES).frames
    out = folder / "frames.h5"
    sample_frames(
        path,
        info,
        out,
        video="scene",
        view="focus",
        frames_per_segment=FRAMES,
        segment_length=0,
        size=(56, 56),
        spans=[span for span, _ in units.values()],
        picked=[frames.tolist() for _, frames in units.values()],
    )
    from hhvad.artifacts import hdf5

    frames = hdf5.read(out, "frames", ("frames",))["frames"]
    said = {}
    for question in (TAUGHT, *HELD_OUT):
        names = looker.says(frames, question)
        said[question] = {
            f"{way}/{level}": name for (way, level), name in zip(units, names, strict=True)
        }
    inside = {
        way: int(sum(any(a <= f < b for a, b in truth) for f in units[way, "video"][1].tolist()))
        for way in ("uniform", *WAYS)
    }
    kind = scene.happenings[0].kind if scene.happenings else "normal"
    return {"kind": kind, "said": said, "inside": inside, "found": len(hits), "events": len(spans)}


def report(found: list[dict], given: argparse.Namespace) -> str:
    abnormal = [one for one in found if one["kind"] != "normal"]
    normal = [one for one in found if one["kind"] == "normal"]

    def right(rows, question, what):
        asked = [one for one in rows if what in one["said"][question]]
        hits = sum(one["said"][question][what] == one["kind"] for one in asked)
        return f"{hits} of {len(asked)}"

    lines = [
        f"{datetime.date.today()}, {platform.machine()}; seed {given.seed}, {len(abnormal)} scenes "
        f"with an event and {len(normal)} without; made by `benchmarks/focus.py`, which says what "
        "is measured.",
        "",
        f'Eight frames of the whole scene, "{TAUGHT}":',
        "",
        "| frames chosen | right kind named | normal scenes called normal | frames in the event |",
        "|---|---|---|---|",
    ]
    for way in ("uniform", *WAYS):
        mean = np.mean([one["inside"][way] for one in abnormal])
        what = f"{way}/video"
        cells = right(abnormal, TAUGHT, what), right(normal, TAUGHT, what), f"{mean:.1f}"
        lines.append(f"| {way} | {' | '.join(cells)} |")
    hit = sum(one["found"] > 0 for one in abnormal)
    false = sum(one["events"] for one in normal)
    lines += [
        "",
        f"The detector finds {hit} of {len(abnormal)} events, and {false} in normal scenes.",
        "",
        "By level and wording, with focus; only the first wording was taught:",
        "",
        "| wording | clip of a detected event | detected event | whole scene |",
        "|---|---|---|---|",
    ]
    for question in (TAUGHT, *HELD_OUT):
        cells = [right(abnormal, question, f"focus/{level}") for level in plan.LEVELS]
        lines.append(f"| {question} | {' | '.join(cells)} |")
    lines += ["", "By kind, whole scene:", "", "| kind | focus | uniform |", "|---|---|---|"]
    for kind in sorted(Counter(one["kind"] for one in abnormal)):
        rows = [one for one in abnormal if one["kind"] == kind]
        cells = (right(rows, TAUGHT, f"{way}/video") for way in ("focus", "uniform"))
        lines.append(f"| {kind} | {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenes", type=int, default=56)
    parser.add_argument("--normal", type=int, default=16)
    parser.add_argument("--seed", type=int, default=500)
    parser.add_argument("--work", type=Path, default=Path("build/focus"), help="what is done")
    parser.add_argument("--markdown", type=Path)
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    looker = None
    found = []
    for number in range(given.scenes + given.normal):
        kept = given.work / f"{given.seed}-{number}.json"
        if not kept.is_file():
            looker = looker or Looker()
            kind = KINDS[number % len(KINDS)] if number < given.scenes else None
            with tempfile.TemporaryDirectory() as folder:
                one = look(looker, long_scene(given.seed, number, kind), Path(folder))
            kept.write_text(json.dumps(one))
            print(f"{number}: {one['kind']}: {one['said'][TAUGHT]}", file=sys.stderr, flush=True)
        found.append(json.loads(kept.read_text()))
    text = report(found, given)
    print(text)
    if given.markdown:
        given.markdown.write_text(text)


if __name__ == "__main__":
    main()
