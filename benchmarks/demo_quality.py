"""How well the shipped tiny model sees the demo's scenes, on datasets of several seeds.

    python benchmarks/demo_quality.py [--seeds 101 102 103 104 105] [--markdown FILE]
    python benchmarks/demo_quality.py --quick        one seed, fewer random draws

For each seed the forty videos are drawn, encoded, decoded and sampled as the workflow does (their
frames stay in --cache, which no model changes), five experts are identified on the calibration
videos and the locator is calibrated on the validation videos. Then, on the test videos:

- frame-level AUC of the five experts, before and after smoothing, over all test videos, over the
  abnormal ones alone, and of the unseen kind (its videos with all normal ones, and its own alone);
- the same of five random heads, mean of the draws;
- the same of two scores that need no model: the energy of frame differences in a segment, and its
  mean brightness;
- how often the generated answer to a question about the scene names the right kind, on segments
  that lie inside an event, or that come from a normal video.

The seeds 101 to 105 were never used while scenes and training were made.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import av
import numpy as np
import torch
import yaml
from sklearn.metrics import roc_auc_score
from transformers import InternVLForConditionalGeneration

from hhvad import checkpoint
from hhvad.demo.encode import encode
from hhvad.demo.lessons import FRAMES, SEGMENT
from hhvad.demo.plan import scenes
from hhvad.demo.scenes import UNSEEN_KIND
from hhvad.localization import locator
from hhvad.media import samplers as sampling
from hhvad.media.resize import with_torch as resize
from hhvad.methods.headhunt import rhi, saliency
from hhvad.methods.headhunt.scorer import Scorer
from hhvad.mllm.engine import Engine
from hhvad.records import HeadId

SEEDS = (101, 102, 103, 104, 105)
SIZE = (56, 56)
EXPERTS = 5
TRAINED, HELD_OUT = "what happens here?", "Say in one sentence what the camera shows."
PROMPTS = Path(__file__).parents[1] / "config" / "prompts.yaml"


def sampled(seed, cache):
    """Of each video: split, scene, segments [S, 2], frames [S, F, 56, 56, 3], decoded mp4."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, (split, scene) in scenes(seed).items():
            kept = Path(cache) / str(seed) / f"{name}.npz"
            if not kept.is_file():
                path = Path(folder) / f"{name}.mp4"
                encode(scene, path)
                view = "video" if split == "calibration" else "segments"
                segments, indices = sampling.plan(scene.n_frames, view, FRAMES, SEGMENT)
                frames = decoded(path, indices.ravel().tolist())
                path.unlink()
                kept.parent.mkdir(parents=True, exist_ok=True)
                clips = frames.reshape(*indices.shape, *SIZE, 3)
                np.savez(kept, segments=segments, clips=clips)
            with np.load(kept) as arrays:
                found[name] = split, scene, arrays["segments"], arrays["clips"]
    return found


def decoded(path, wanted):
    """The frames `wanted` (increasing) of an mp4, resized: uint8 [N, 56, 56, 3]."""
    keep, found = set(wanted), {}
    with av.open(str(path)) as container:
        for index, frame in enumerate(container.decode(video=0)):
            if index in keep:
                found[index] = resize(frame.to_ndarray(format="rgb24")[None], SIZE)[0]
    return np.stack([found[index] for index in wanted])


def frame_labels(scene):
    labels = np.zeros(scene.n_frames, bool)
    for happening in scene.happenings:
        labels[happening.start : happening.end] = True
    return labels


class Judge:
    """AUC over frames of segment scores of the test videos."""

    def __init__(self, videos):
        self.test = {n: v for n, v in videos.items() if v[0] == "test"}

    def auc(self, scores, names):
        labels = np.concatenate([frame_labels(self.test[n][1]) for n in names])
        values = np.concatenate(
            [np.repeat(scores[n], np.diff(self.test[n][2])[:, 0]) for n in names]
        )
        return roc_auc_score(labels, values)

    def __call__(self, scores):
        normal = [n for n, v in self.test.items() if not v[1].happenings]
        abnormal = [n for n, v in self.test.items() if v[1].happenings]
        unseen = [n for n in abnormal if self.test[n][1].happenings[0].kind == UNSEEN_KIND]
        return {
            "all": self.auc(scores, [*normal, *abnormal]),
            "abnormal": self.auc(scores, abnormal),
            "unseen": self.auc(scores, [*normal, *unseen]),
            "unseen alone": self.auc(scores, unseen),
        }


def detector(calibration, labels, features, heads):
    """Scores of the videos in `features` by a scorer on `heads`, fitted on `calibration`."""
    at = tuple(np.array(heads).T)
    scorer = Scorer().fit(calibration[:, *at], labels)
    return {name: scorer.predict_proba(value[:, *at]) for name, value in features.items()}


def measure(seed, cache, folder, draws):
    """All figures of one seed."""
    videos = sampled(seed, cache)
    judge = Judge(videos)
    asked = yaml.safe_load(PROMPTS.read_text())
    prompts = asked["prompts"]
    online = list(prompts).index(asked["online"])
    engine = Engine.load(str(folder), dtype="float32", device="cpu")
    first = [v for v in videos.values() if v[0] == "calibration"]
    labels = np.array([bool(scene.happenings) for _, scene, _, _ in first], dtype=np.int64)
    calibration = engine.capture(np.concatenate([v[3] for v in first]), list(prompts.values()))
    saliencies = [saliency.score_heads(features, labels) for features in calibration]
    rss = rhi.robust_saliency(rhi.normalise(np.stack(saliencies)))
    experts = rhi.top_heads(rss, EXPERTS)
    text = prompts[asked["online"]]
    features = {
        n: engine.capture(v[3], [text])[0] for n, v in videos.items() if v[0] != "calibration"
    }
    validation = [n for n, v in videos.items() if v[0] == "validation"]
    truth = [
        locator.frame_counts(videos[n][2], [(h.start, h.end) for h in videos[n][1].happenings])
        for n in validation
    ]

    def judged(heads):
        raw = detector(calibration[online], labels, features, heads)
        best = locator.calibrate([raw[n] for n in validation], truth)
        return judge(raw), judge({n: locator.smooth(s, best.sigma) for n, s in raw.items()}), best

    raw, smoothed, best = judged(experts)
    rng = np.random.default_rng([seed, 7])
    count = engine.info.layers * engine.info.heads
    randomly = []
    for _ in range(draws):
        picked = rng.choice(count, EXPERTS, replace=False)
        randomly.append(judged([HeadId(*divmod(int(i), engine.info.heads)) for i in picked])[1])
    test = {n: v for n, v in videos.items() if v[0] == "test"}
    energy = {
        n: np.abs(np.diff(v[3].astype(np.float32), axis=1)).mean(axis=(1, 2, 3, 4))
        for n, v in test.items()
    }
    bright = {n: v[3].mean(axis=(1, 2, 3, 4)) for n, v in test.items()}
    return {
        "experts": smoothed,
        "experts, not smoothed": raw,
        "random heads": {k: float(np.mean([r[k] for r in randomly])) for k in raw},
        "frame-difference energy": judge(energy),
        "brightness": judge(bright),
        "heads": experts,
        "locator": best,
        "answers": {q: answers(engine, folder, test, q) for q in (TRAINED, HELD_OUT)},
    }


def answers(engine, folder, test, question):
    """Right and all answers, by true kind, on segments of test videos."""
    clips, kinds = [], []
    for _, scene, segments, frames in test.values():
        for (start, end), clip in zip(segments.tolist(), frames, strict=True):
            inside = [h for h in scene.happenings if h.start <= start and end <= h.end]
            if end - start == SEGMENT and (inside or not scene.happenings):
                clips.append(clip)
                kinds.append(inside[0].kind if inside else "normal")
    said = generate(engine, folder, np.stack(clips), question)
    tally = {}
    for kind, text in zip(kinds, said, strict=True):
        right, total = tally.get(kind, (0, 0))
        tally[kind] = right + (text.split(":")[0].strip() == kind), total + 1
    return tally


@torch.inference_mode()
def generate(engine, folder, clips, question, length=24):
    """The greedy answers of the whole model, decoded without a cache."""
    network = InternVLForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()
    words = engine.tokenizer
    text = engine._text(question, clips.shape[1], *SIZE)
    start = torch.tensor(words(text, add_special_tokens=False)["input_ids"])
    said = []
    for batch in np.array_split(clips, -(-len(clips) // 32)):
        pixels = engine.backbone.pixels(torch.from_numpy(batch), torch.float32)
        pixels = pixels.reshape(-1, *pixels.shape[2:])
        ids = start.expand(len(batch), -1)
        done = torch.zeros(len(batch), dtype=torch.bool)
        for _ in range(length):
            logits = network(input_ids=ids, pixel_values=pixels, logits_to_keep=1).logits
            following = logits[:, -1].argmax(-1).masked_fill(done, words.eos_token_id)
            ids = torch.cat([ids, following[:, None]], dim=1)
            done |= following == words.eos_token_id
            if done.all():
                break
        said += words.batch_decode(ids[:, len(start) :], skip_special_tokens=True)
    return said


def accuracy(tally, kinds):
    right = sum(tally[k][0] for k in kinds if k in tally)
    total = sum(tally[k][1] for k in kinds if k in tally)
    return right / total if total else float("nan")


def report(results):
    """A Markdown table of mean and spread (standard deviation) over the seeds."""

    def cell(values):
        values = np.array(values)
        spread = f" ± {values.std(ddof=1):.3f}" if len(values) > 1 else ""
        return f"{values.mean():.3f}{spread}"

    columns = ("all", "abnormal", "unseen", "unseen alone")
    lines = [
        f"Seeds {', '.join(map(str, results))}; frame-level AUC, mean ± standard deviation.",
        "",
        "| score of a frame | all test videos | abnormal videos alone | unseen kind "
        f"({UNSEEN_KIND}) with normal videos | its videos alone |",
        "|---|---|---|---|---|",
    ]
    for name in (
        "experts",
        "experts, not smoothed",
        "random heads",
        "frame-difference energy",
        "brightness",
    ):
        cells = [cell([r[name][c] for r in results.values()]) for c in columns]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    gain = cell([r["experts"]["all"] - r["random heads"]["all"] for r in results.values()])
    lines += ["", f"Experts over random heads, all test videos: {gain}.", ""]
    lines.append(
        f'| generated answer names the right kind | "{TRAINED}" | "{HELD_OUT}" (wording held out) |'
    )
    lines.append("|---|---|---|")
    merged = {q: {} for q in (TRAINED, HELD_OUT)}
    for r in results.values():
        for q, tally in r["answers"].items():
            for kind, (right, total) in tally.items():
                a, b = merged[q].get(kind, (0, 0))
                merged[q][kind] = a + right, b + total
    kinds = sorted(merged[TRAINED])
    trained = [k for k in kinds if k not in (UNSEEN_KIND, "normal")]
    rows = [
        ("trained kinds", trained),
        ("trained kinds and normal", [*trained, "normal"]),
        *((k, [k]) for k in kinds),
    ]
    for name, group in rows:
        total = sum(merged[TRAINED][k][1] for k in group)
        cells = [f"{accuracy(merged[q], group):.3f}" for q in (TRAINED, HELD_OUT)]
        lines.append(f"| {name} ({total} segments) | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", nargs="+", type=int, default=list(SEEDS))
    parser.add_argument("--quick", action="store_true", help="the first seed, five random draws")
    parser.add_argument("--draws", type=int, default=20, help="of five random heads")
    parser.add_argument("--model", default="demo", help="checkpoint folder (the shipped one)")
    parser.add_argument("--cache", default="results/demo_quality", help="folder of sampled frames")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--markdown", metavar="FILE", help="write the tables there too")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    seeds = arguments.seeds[:1] if arguments.quick else arguments.seeds
    draws = 5 if arguments.quick else arguments.draws
    folder = Path(checkpoint.resolve(arguments.model))
    results = {}
    for seed in seeds:
        results[seed] = measure(seed, arguments.cache, folder, draws)
        auc = {
            k: round(v["all"], 3)
            for k, v in results[seed].items()
            if isinstance(v, dict) and "all" in v
        }
        print(f"seed {seed}: {auc}, experts {results[seed]['heads']}", file=sys.stderr, flush=True)
    text = report(results)
    print(text)
    if arguments.markdown:
        Path(arguments.markdown).write_text(text)


if __name__ == "__main__":
    main()
