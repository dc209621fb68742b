"""Ratios that tell whether something became slower, in one file: `make bench`.

    python benchmarks/ratios.py [--out build/ratios.json] [--only NAME ...]

Each is measured in turns in this run, ours against a plain way of the same work on the same
machine, so that files of two machines can be compared (`benchmarks/moved.py OLD NEW`). Larger is
better. Minutes; the tables beside the scripts of this folder take longer and say more.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from hhvad import __version__
from hhvad.files import write_json


def in_turns(plain: Callable[[], object], ours: Callable[[], object], rounds: int = 3) -> float:
    """How many times as long the plain way takes; the best of some rounds each."""
    best = [float("inf"), float("inf")]
    for _ in range(rounds):
        for number, way in enumerate((plain, ours)):
            start = time.perf_counter()
            way()
            best[number] = min(best[number], time.perf_counter() - start)
    return best[0] / best[1]


def capture(count: int) -> float:
    """Head features of four segments under `count` prompts, against one generate() each."""
    from capture import build, naive, prompts

    network, engine, geometry = build("small", "cpu", "float32")
    shape = (4, geometry.frames, geometry.size, geometry.size, 3)
    frames = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    texts = prompts(count)
    return in_turns(
        lambda: naive(network, engine, frames, texts),
        lambda: engine.capture(frames, texts, batch_size="auto"),
    )


def heads() -> float:
    """The metrics of 56 heads of 64 videos, against one head at a time with scikit-learn."""
    import heads as plain

    from hhvad.methods.headhunt import saliency

    x, labels = plain.features(64, 0)
    x = np.ascontiguousarray(x[:, :2])

    def one_at_a_time() -> None:
        for layer, head in np.ndindex(x.shape[1:3]):
            a, n = x[labels == 1, layer, head], x[labels == 0, layer, head]
            for metric in (plain.lda, plain.kl, plain.mmd, plain.nmi):
                metric(a, n)

    with threadpool_limits(1):
        return in_turns(one_at_a_time, lambda: saliency.score_heads(x, labels))


def resamples() -> float:
    """40 resamples of 160 videos for 56 heads from shared products, against their rows."""
    import heads as plain

    from hhvad.methods.headhunt import rhi, saliency
    from hhvad.methods.headhunt.resampled import score_resamples

    x, labels = plain.features(160, 0)
    x = np.ascontiguousarray(x[:, :2])
    picks = list(rhi.resamples(labels, 40))
    with threadpool_limits(1):
        return in_turns(
            lambda: [saliency.score_heads(x[pick], labels[pick]) for pick in picks],
            lambda: score_resamples(x, labels, picks),
            rounds=2,
        )


def locator() -> float:
    """Calibration of sigma and tau, against scikit-learn's F1 for every pair."""
    import heads as plain

    slow, fast, as_good = plain.compare_locator()
    if not as_good:
        raise SystemExit("locator: F1 is lower than on scikit-learn's grid")
    return slow / fast


def frames(what: str) -> float:
    """Sampling of a drawn scene, against seeking each frame, or against decoding it alone."""
    import frames as plain

    from hhvad.demo.encode import encode
    from hhvad.demo.plan import scenes

    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "scene.mp4"
        encode(next(iter(scenes(0).values()))[1], path)
        _, best = plain.measure(path, Path(name), 2, (56, 56))
    return best[what] / best["sample"]


def starting() -> float:
    """A light command that does nothing, against Python that imports numpy."""
    command = [sys.executable, "-m", "hhvad", "score-headhunt", "--help"]
    quiet = {"stdout": subprocess.DEVNULL, "check": True}
    return in_turns(
        lambda: subprocess.run([sys.executable, "-c", "import numpy"], **quiet),
        lambda: subprocess.run(command, **quiet),
        rounds=7,
    )


def planning(what: str) -> float:
    """A bare workflow of as many jobs as a study of 300 videos, against that study."""
    import planning as plain

    if not hasattr(planning, "table"):
        with tempfile.TemporaryDirectory() as name:
            planning.table = plain.measure(Path(name), 300, 2)
    ours, bare = planning.table
    return bare[what] / ours[what]


RATIOS: dict[str, Callable[[], float]] = {
    "capture, 1 prompt": lambda: capture(1),
    "capture, 5 prompts": lambda: capture(5),
    "heads": heads,
    "resamples": resamples,
    "locator": locator,
    "frames, against seeking": lambda: frames("naive"),
    "frames, against decoding": lambda: frames("decode"),
    "start of a command": starting,
    "plan": lambda: planning("plan"),
    "nothing to do": lambda: planning("no-op"),
    "one video more": lambda: planning("one more"),
}


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("build/ratios.json"))
    parser.add_argument("--only", nargs="+", choices=RATIOS, default=list(RATIOS))
    given = parser.parse_args()
    sys.path.insert(0, str(Path(__file__).parent))
    found = {}
    for name in given.only:
        found[name] = round(float(RATIOS[name]()), 3)
        print(f"{name}: {found[name]:.2f}", flush=True)
    given.out.parent.mkdir(parents=True, exist_ok=True)
    about = {
        "hhvad": __version__,
        "made": f"{datetime.date.today()}",
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "python": platform.python_version(),
    }
    write_json(given.out, {**about, "ratios": found})
    print(f"{given.out}: written")


if __name__ == "__main__":
    main()
