"""LAVAD's model calls and time against the authors' way, with the same tiny models and scores.

    python benchmarks/lavad.py [--seed 400] [--videos 2] [--markdown FILE]

Their way: every frame is captioned by every captioner, each window's frames are embedded for it
alone, and the LLM is asked about every window. Ours: one frame per stride is captioned and embedded
(the captions of the others are never read), and each distinct question of a video is asked once.
Windows, batches and everything between the models are the same in both, so that the scores must be
equal, and it is an error if they are not. Videos are drawn at the models' size: decoding is not
part of the time.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from lavad_quality import BATCH, SETTINGS, Models
from numpy.random import default_rng

from hhvad.demo.plan import make_scene
from hhvad.demo.scenes import ANOMALY_KINDS, render
from hhvad.media.resize import with_torch as resize
from hhvad.methods.lavad import clean, rate, refine, summarise
from hhvad.methods.lavad.index import unique_texts, unit
from hhvad.methods.lavad.prompts import RATE, SUMMARISE
from hhvad.methods.lavad.windows import grid, windows

PARTS = ("captions", "pictures", "texts", "summaries", "ratings")


class Count:
    """What each part asked of a model, and its wall and CPU seconds."""

    def __init__(self):
        self.calls, self.wall, self.cpu = Counter(), Counter(), Counter()

    @contextmanager
    def part(self, name, calls):
        """Time a part that asks a model `calls` things."""
        wall, cpu = time.perf_counter(), time.process_time()
        yield
        self.calls[name] += calls
        self.wall[name] += time.perf_counter() - wall
        self.cpu[name] += time.process_time() - cpu


def ask(models, count, part, conversations):
    """The LLM's answers."""
    with count.part(part, len(conversations)):
        found = models.llm.complete(
            conversations, max_tokens=SETTINGS.answers.max_tokens, batch_size=BATCH
        )
    return [answer.text for answer in found]


def run(models, scene, frames, sparing):
    """The scores of a video's windows and the counts; sparing: our way, else the authors'."""
    count = Count()
    window, near = SETTINGS.window, SETTINGS.neighbours
    shown = grid(scene.n_frames, SETTINGS.stride)
    cut = windows(
        scene.n_frames, scene.fps, stride=SETTINGS.stride, seconds=window.seconds,
        samples=window.samples, on="grid",
    )  # fmt: skip
    captioned = shown if sparing else np.arange(scene.n_frames)
    with count.part("captions", len(captioned)):
        said = dict(zip(captioned.tolist(), models.captions(frames[captioned]), strict=True))
    entries = unique_texts({"demo": [(frame, said[frame]) for frame in shown.tolist()]})
    texts = [entry.text for entry in entries]
    with count.part("texts", len(texts)):
        written = models.vectors(texts)
    embedded = [shown] if sparing else cut.frames
    with count.part("pictures", sum(map(len, embedded))):
        found = [models.encoder.embed_frames(frames[f], batch_size=BATCH) for f in embedded]
    indices, places = np.unique(np.concatenate(embedded), return_index=True)
    pictures = unit(np.concatenate(found)[places])
    chosen = clean.nearest_captions(cut, indices, pictures, written).chosen
    questions = [summarise.join_captions([texts[i] for i in rows]) for rows in chosen]

    def answers(part, asked, messages):
        known = list(dict.fromkeys(asked)) if sparing else asked
        said = dict(zip(known, ask(models, count, part, [messages(t) for t in known]), strict=True))
        return [said[text] for text in asked]

    summaries = [
        summarise.summary_of(answer)
        for answer in answers(
            "summaries", questions, lambda text: summarise.summarise_messages(text, SUMMARISE)
        )
    ]
    wording = RATE[SETTINGS.rating]
    numbers = answers(
        "ratings", summaries, lambda text: rate.rate_messages(rate.rated_text(text), wording)
    )
    scores = rate.rate_windows([rate.read_number(answer) for answer in numbers], "video").scores
    queries = refine.window_vectors(cut, indices, pictures)
    refined = refine.by_windows(queries, scores, share=near.share, temperature=near.temperature)
    return refined, count


def report(theirs, ours, n_frames):
    """A Markdown table of the two ways."""

    def ratio(a, b):
        return f"{a / b:.1f}x" if b else "–"

    lines = [
        f"{n_frames} frames; stride {SETTINGS.stride}, one captioner, batches of {BATCH}, "
        f"{torch.get_num_threads()} thread; scores equal to 1e-6.",
        "",
        "| asked of a model | their way | ours | fewer | seconds of CPU, theirs | ours | less |",
        "|---|---|---|---|---|---|---|",
    ]
    for part in PARTS:
        a, b = theirs.calls[part], ours.calls[part]
        s, t = theirs.cpu[part], ours.cpu[part]
        lines.append(f"| {part} | {a} | {b} | {ratio(a, b)} | {s:.1f} | {t:.1f} | {ratio(s, t)} |")
    s, t = theirs.cpu.total(), ours.cpu.total()
    lines.append(f"| all | | | | {s:.1f} | {t:.1f} | {ratio(s, t)} |")
    wall = theirs.wall.total(), ours.wall.total()
    lines += ["", f"Wall time: {wall[0]:.1f} s against {wall[1]:.1f} s, {ratio(*wall)} less."]
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=400)
    parser.add_argument("--videos", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--markdown", metavar="FILE", help="write the table there too")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    models, theirs, ours, n_frames = Models(), Count(), Count(), 0
    kinds = [kind for kind in ANOMALY_KINDS if kind != "fire"]
    for number in range(arguments.videos):
        rng = default_rng([arguments.seed, number])
        scene = make_scene(rng, kinds[number % len(kinds)], shortest=10, longest=15)
        frames = np.stack([resize(frame[None], (56, 56))[0] for frame in render(scene)])
        n_frames += len(frames)
        found = []
        for total, sparing in ((theirs, False), (ours, True)):
            scores, count = run(models, scene, frames, sparing)
            found.append(scores)
            for name in ("calls", "wall", "cpu"):
                getattr(total, name).update(getattr(count, name))
        if not np.allclose(*found, atol=1e-6, rtol=0):
            raise SystemExit(
                f"video {number}: the scores differ by {abs(found[0] - found[1]).max()}"
            )
    text = report(theirs, ours, n_frames)
    print(text)
    if arguments.markdown:
        Path(arguments.markdown).write_text(text)


if __name__ == "__main__":
    main()
