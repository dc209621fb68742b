"""How well LAVAD works with the shipped tiny models, on the demo's scenes of several seeds.

    python benchmarks/lavad_quality.py [--seeds 301 302 303 304 305] [--markdown FILE]

For each seed the test videos are drawn, encoded, decoded and captioned as the workflow does, with
the values of `preset: demo`. Everything after the captions is done twice: with the captions as they
are, and with 30 % of them replaced by a phrase that is wrong for their frame. Measured are the
share of captions that are right before and after cleaning, and the frame-level AUC of the LLM's
numbers on the raw captions and on the cleaned ones, and of these refined among similar windows and
among similar summaries.

A caption is right for a frame that shows an anomaly if it names it (there is no phrase for a fire:
any anomaly is right), and for another frame if it names no anomaly. A second figure asks more of
the latter: that the ordinary life named goes on in the scene. No seed was used while scenes or
models were made.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from demo_quality import decoded, frame_labels
from sklearn.metrics import roc_auc_score

from hhvad import checkpoint
from hhvad.demo.encode import encode
from hhvad.demo.lessons import PHRASES
from hhvad.demo.plan import scenes
from hhvad.demo.scenes import ANOMALY_KINDS
from hhvad.methods.lavad import clean, rate, refine, summarise
from hhvad.methods.lavad.index import unique_texts, unit
from hhvad.methods.lavad.prompts import RATE, SUMMARISE
from hhvad.methods.lavad.settings import Lavad
from hhvad.methods.lavad.windows import grid, windows
from hhvad.mllm.load import load
from hhvad.mllm.tasks.generate import without_verdict

SEEDS = (301, 302, 303, 304, 305)
INJECTED = 0.3
SETTINGS = Lavad(kind="lavad", preset="demo", captioner="demo", llm="demo-llm", encoder="demo-clip")
BATCH = 8
RIGHT = (
    "right captions, raw",
    "right captions, cleaned",
    "right and the ordinary life of the scene, raw",
    "right and the ordinary life of the scene, cleaned",
)


class Models:
    """The three tiny models, and what they are asked."""

    def __init__(self) -> None:
        paths = (checkpoint.resolve(name) for name in ("demo", "demo-llm", "demo-clip"))
        self.captioner, self.llm, self.encoder = (
            load(str(path), device="cpu", dtype="float32") for path in paths
        )

    def captions(self, frames):
        """A caption of each frame [G, H, W, 3]."""
        caption = SETTINGS.caption
        shown = np.repeat(frames[:, None], caption.frames_shown, axis=1)
        found = self.captioner.generate(
            shown, caption.prompt, max_tokens=caption.max_tokens, batch_size=BATCH
        )
        return [without_verdict(answer.text) for answer in found]

    def ask(self, questions, messages):
        """The answer to each question, distinct ones asked once."""
        known = list(dict.fromkeys(questions))
        limit = SETTINGS.answers.max_tokens
        found = self.llm.complete(
            [messages(text) for text in known], max_tokens=limit, batch_size=BATCH
        )
        said = {text: answer.text for text, answer in zip(known, found, strict=True)}
        return [said[text] for text in questions]

    def rated(self, captions, name):
        """Summaries of windows and their scores, from the captions of each."""
        questions = [summarise.join_captions(texts) for texts in captions]
        answers = self.ask(questions, lambda text: summarise.summarise_messages(text, SUMMARISE))
        summaries = [summarise.summary_of(answer) for answer in answers]
        said = self.ask(
            summaries,
            lambda text: rate.rate_messages(rate.rated_text(text), RATE[SETTINGS.rating]),
        )
        numbers = [rate.read_number(answer) for answer in said]
        return summaries, rate.rate_windows(numbers, name).scores

    def vectors(self, texts):
        """Unit vectors of texts."""
        return unit(self.encoder.embed_texts(texts, batch_size=BATCH)[0])


def is_right(text, scene, frame, strict=False):
    """Whether a caption is right for a frame; strict: ordinary life must go on in the scene."""
    seen = [h.kind for h in scene.happenings if h.start <= frame < h.end]
    said = [kind for kind, phrase in PHRASES.items() if phrase == text]
    if not seen:
        allowed = scene.kinds if strict else set(PHRASES) - set(ANOMALY_KINDS)
        return any(kind in allowed for kind in said)
    if any(kind not in PHRASES for kind in seen):
        return any(kind in ANOMALY_KINDS for kind in said)
    return any(kind in seen for kind in said)


def spoilt(captions, scene, frames, rng):
    """The captions, INJECTED of them replaced by what is false of their frames."""
    found = list(captions)
    for place in np.flatnonzero(rng.random(len(found)) < INJECTED):
        false = [text for text in PHRASES.values() if not is_right(text, scene, frames[place])]
        found[place] = str(rng.choice(false))
    return found


def judge(models, scene, name, pictures, captions):
    """Right captions before and after cleaning, and scores of the windows, by variant."""
    window, near = SETTINGS.window, SETTINGS.neighbours
    frames = grid(scene.n_frames, SETTINGS.stride)
    cut = windows(
        scene.n_frames, scene.fps, stride=SETTINGS.stride, seconds=window.seconds,
        samples=window.samples, on="grid",
    )  # fmt: skip
    said = dict(zip(frames.tolist(), captions, strict=True))
    entries = unique_texts({"demo": list(said.items())})
    texts = [entry.text for entry in entries]
    found = clean.nearest_captions(cut, frames, pictures, models.vectors(texts))
    cleaned = [[texts[row] for row in chosen] for chosen in found.chosen]
    best = {}
    for wanted, chosen in zip(cut.frames, cleaned, strict=True):
        best |= dict(zip(wanted.tolist(), chosen, strict=True))
    right = [
        [
            is_right(text[frame], scene, frame, strict)
            for strict in (False, True)
            for text in (said, best)
        ]
        for frame in frames.tolist()
    ]
    raw = [[said[frame] for frame in wanted.tolist()] for wanted in cut.frames]
    scores = {"raw captions": models.rated(raw, name)[1]}
    summaries, scores["cleaned captions"] = models.rated(cleaned, name)
    plain = scores["cleaned captions"]
    queries = refine.window_vectors(cut, frames, pictures)
    scores["+ refined among windows"] = refine.by_windows(
        queries, plain, share=near.share, temperature=near.temperature
    )
    unique = list(dict.fromkeys(summaries))
    first = np.array([summaries.index(text) for text in unique])
    scores["+ refined among summaries, as the paper"] = refine.by_summaries(
        queries, models.vectors(unique), plain[first], k=10, temperature=1.0
    )
    return right, {
        key: refine.frame_scores(value, scene.n_frames, SETTINGS.stride)
        for key, value in scores.items()
    }


def measure(seed, models, folder):
    """All figures of one seed, by (captions, what)."""
    rng = np.random.default_rng([seed, 8])
    right, scores, labels = {}, {}, []
    for name, (split, scene) in scenes(seed).items():
        if split != "test":
            continue
        path = Path(folder) / f"{name}.mp4"
        encode(scene, path)
        frames = grid(scene.n_frames, SETTINGS.stride)
        pictures = decoded(path, frames.tolist())
        path.unlink()
        labels.append(frame_labels(scene))
        vectors = unit(models.encoder.embed_frames(pictures, batch_size=BATCH))
        captions = models.captions(pictures)
        for kind, given in (
            ("as they are", captions),
            (f"{INJECTED:.0%} made wrong", spoilt(captions, scene, frames, rng)),
        ):
            shares, found = judge(models, scene, name, vectors, given)
            right.setdefault(kind, []).extend(shares)
            for what, values in found.items():
                scores.setdefault((kind, what), []).append(values)
    truth = np.concatenate(labels)
    figures = {key: roc_auc_score(truth, np.concatenate(values)) for key, values in scores.items()}
    for kind, shares in right.items():
        means = np.array(shares).mean(axis=0)
        for what, value in zip(RIGHT, means, strict=True):
            figures[kind, what] = value
    return {key: float(value) for key, value in figures.items()}


def report(results):
    """A Markdown table of mean, spread (standard deviation) and smallest value over the seeds."""
    kinds = list(dict.fromkeys(kind for kind, _ in next(iter(results.values()))))
    whats = list(dict.fromkeys(what for _, what in next(iter(results.values()))))
    lines = [
        f"Seeds {', '.join(map(str, results))}, 16 test videos each, the kind `fire` never seen by "
        "any of the models; mean ± standard deviation (smallest).",
        "",
        f"| | {' | '.join(f'captions {kind}' for kind in kinds)} |",
        f"|---|{'---|' * len(kinds)}",
    ]
    for what in sorted(whats, key=lambda name: not name.startswith("right")):
        cells = []
        for kind in kinds:
            values = np.array([figures[kind, what] for figures in results.values()])
            spread = f" ± {values.std(ddof=1):.3f}" if len(values) > 1 else ""
            cells.append(f"{values.mean():.3f}{spread} ({values.min():.3f})")
        label = what if what.startswith("right") else f"AUC, {what}"
        lines.append(f"| {label} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", nargs="+", type=int, default=list(SEEDS))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--cache", default="results/lavad_quality", help="folder of seeds' figures")
    parser.add_argument("--markdown", metavar="FILE", help="write the table there too")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    models, results = Models(), {}
    for seed in arguments.seeds:
        kept = Path(arguments.cache) / f"{seed}.json"
        if kept.is_file():
            rows = json.loads(kept.read_text())
            results[seed] = {(kind, what): value for kind, what, value in rows}
            continue
        with tempfile.TemporaryDirectory() as folder:
            results[seed] = measure(seed, models, folder)
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(json.dumps([[*key, value] for key, value in results[seed].items()]))
        shown = {f"{a}: {b}": round(float(v), 3) for (a, b), v in results[seed].items()}
        print(f"seed {seed}: {shown}", file=sys.stderr, flush=True)
    text = report(results)
    print(text)
    if arguments.markdown:
        Path(arguments.markdown).write_text(text)


if __name__ == "__main__":
    main()
