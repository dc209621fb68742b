"""What an adapter teaches the demo's model: wordings that it was never asked in.

    python benchmarks/tune.py [--lessons 400] [--test 120] [--epochs 3] [--markdown FILE]

Clips of the demo's kind, of a seed that nothing was made on. A third of the lessons each ask what
happens in one of two new wordings, a third in the wording that the model knows, so that it is not
forgotten. On clips that are not among the lessons, an answer is right if it names the kind. A third
new wording is in no lesson. Then the adapter is merged, and the merged model asked as well.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from hhvad import checkpoint
from hhvad.artifacts import hdf5
from hhvad.demo.lessons import FRAMES, answer, clip, lesson
from hhvad.media.resize import with_torch
from hhvad.mllm.engine import Engine
from hhvad.mllm.tune import Lesson, Settings, merge, tune

TAUGHT = "what happens here?"
NEW = ("Say in one sentence what the camera shows.", "Write down what an operator should know.")
HELD_OUT = "Say in a sentence what these pictures show."
SIDE = 56


def drawn(seed: int, numbers: range) -> tuple[np.ndarray, list[str]]:
    """Clips uint8 [N, F, H, W, 3] at the model's size, and what is right to say of each."""
    items = [lesson(seed, number) for number in numbers]
    clips = np.stack([with_torch(clip(item), (SIDE, SIDE)) for item in items])
    return clips, [answer(item.scene, item.seen) for item in items]


def right(engine: Engine, clips: np.ndarray, truth: list[str], wording: str) -> int:
    """How many answers name the kind, which is their first word."""
    said = engine.generate(clips, wording, max_tokens=16, batch_size=8)
    return sum(
        one.text.split(":")[0] == true.split(":")[0] for one, true in zip(said, truth, strict=True)
    )


def main() -> None:
    """Draw, ask, tune, ask again."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lessons", type=int, default=400)
    parser.add_argument("--test", type=int, default=120)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--seed", type=int, default=900)
    parser.add_argument("--markdown", type=Path)
    given = parser.parse_args()
    settings = Settings(
        rank=16, alpha=32, dropout=0.05, rate=2e-3, warmup=0.03, decay=0.01, batch=16,
        epochs=given.epochs, seed=0, system="",
    )  # fmt: skip
    model = checkpoint.resolve("demo")
    clips, truth = drawn(given.seed, range(given.lessons))
    unseen, wanted = drawn(given.seed, range(10**6, 10**6 + given.test))
    wordings = [TAUGHT, *NEW, HELD_OUT]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bounds = np.arange(len(clips))[:, None] * 48 + np.array([0, 48])
        arrays = {
            "frames": clips,
            "segments": bounds,
            "indices": bounds[:, :1] + np.arange(FRAMES) * 6,
        }
        about = {"video": "lessons", "view": "focus", "frames_per_segment": FRAMES, "fps": 24.0}
        about |= {"segment_length": 0, "size": [SIDE, SIDE], "resize": "torch", "decoder": "none"}
        hdf5.write(folder / "frames.h5", "frames", arrays, about | {"n_frames": 48 * len(clips)})
        lessons = [
            Lesson(str(folder / "frames.h5"), number, (TAUGHT, *NEW)[number % 3], reply)
            for number, reply in enumerate(truth)
        ]
        began = time.monotonic()
        tune(
            model, lessons, settings, folder / "adapter", folder / "state", key="k", name="demo",
            device="cpu", threads=2,
        )  # fmt: skip
        minutes = (time.monotonic() - began) / 60
        merge(model, folder / "adapter", folder / "merged")
        rows = []
        for title, path in (("as shipped", model), ("tuned", str(folder / "merged"))):
            engine = Engine.load(path, device="cpu", threads=2)
            counts = [right(engine, unseen, wanted, wording) for wording in wordings]
            rows.append([title, *(f"{count} of {given.test}" for count in counts)])
    heads = ["", TAUGHT, *NEW, f"{HELD_OUT} (in no lesson)"]
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    text = (
        "# What an adapter teaches\n\n"
        f"`python benchmarks/tune.py --lessons {given.lessons} --test {given.test} --epochs "
        f"{given.epochs} --seed {given.seed}`: {given.lessons} lessons, {given.epochs} epochs of "
        f"{-(-given.lessons // settings.batch)} steps in {minutes:.1f} minutes on two cores. Clips "
        "whose kind is named right, none of them among the lessons:\n\n" + "\n".join(lines) + "\n"
    )
    print(text)
    if given.markdown:
        given.markdown.write_text(text)


if __name__ == "__main__":
    main()
