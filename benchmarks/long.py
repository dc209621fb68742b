"""Footage of hours: what frames take on scratch and in memory, all kept or within a limit.

    python benchmarks/long.py [--hours 0.5 1 2 4] [--keep-mb 8] [--markdown benchmarks/long.md]

Makes a video of each length (160 x 120, 10 frames a second, a box that moves), samples its segments
as the rule `sample_segments` does, and captures two of the demo model's heads as `capture_heads`
does, each command in a process of its own. Memory is that process's peak; decoders are children.
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
from pathlib import Path

import av
import numpy as np

FPS = 10
PROMPT = "Is anything abnormal happening?"


def make_video(path: Path, hours: float) -> None:
    """A street of noise in which a bright box goes round."""
    random = np.random.default_rng(0)
    base = random.integers(60, 120, (120, 160, 3), dtype=np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS)
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
        stream.options = {"preset": "ultrafast", "crf": "30"}
        for number in range(int(hours * 3600 * FPS)):
            picture = base.copy()
            x, y = number % 140, number // 7 % 100
            picture[y : y + 20, x : x + 20] = 230
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        container.mux(stream.encode())


def run(*words: str | Path) -> tuple[float, float]:
    """Seconds and peak memory in MiB of an hhvad command."""
    began = time.monotonic()
    child = subprocess.Popen(
        [sys.executable, "-m", "hhvad", *map(str, words)], stderr=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(child.pid, 0)
    if status:
        raise SystemExit(f"hhvad {words[0]} failed")
    return time.monotonic() - began, usage.ru_maxrss / 1024


def capture(folder: Path, video: Path, probe: Path, keep: int | None) -> dict[str, float | bytes]:
    """Sample and capture once; scratch and memory in MiB, seconds, and the features' bytes."""
    frames, out = folder / "frames.h5", folder / f"features-{keep}.h5"
    limit = [] if keep is None else ["--keep-mb", str(keep)]
    sampled, sampling_memory = run(
        *("sample-frames", "--video", "long", "--path", video, "--probe", probe),
        *("--view", "segments", "--frames-per-segment", "8", "--segment-length", "48"),
        *("--size", "56", "56", "--threads", "1", "--timeout", "36000", *limit, "--out", frames),
    )
    captured, memory = run(
        *("capture-heads", "--frames", frames, "--probe", probe, "--path", video),
        *("--times", "video", "--outer-marks", "no", "--model", "demo", "--model-name", "demo"),
        *("--revision=", "--commit-file", folder / "commit", "--dtype", "float32"),
        *("--device", "cpu", "--batch-size", "8", "--threads", "1", "--resident", "no"),
        *("--idle-timeout", "1", "--prompt-id", "direct", f"--prompt={PROMPT}", "--system="),
        *("--heads", "2,1 5,3", "--out", out),
    )
    return {
        "scratch": frames.stat().st_size / 2**20,
        "memory": max(memory, sampling_memory),
        "seconds": sampled + captured,
        "features": out.read_bytes(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hours", type=float, nargs="+", default=[0.5, 1, 2, 4])
    parser.add_argument("--keep-mb", type=int, default=8)
    parser.add_argument("--markdown", type=Path)
    arguments = parser.parse_args()
    lines = [
        f"{datetime.date.today()}, {platform.machine()}, one thread; made by `benchmarks/long.py`, "
        f"which says what is measured. The limit is {arguments.keep_mb} MiB.",
        "",
        "| hours | segments | scratch, MiB: all kept | within the limit | peak memory, MiB: all "
        "kept | within the limit | seconds: all kept | within the limit | features |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for hours in arguments.hours:
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            video, probe = folder / "long.mp4", folder / "probe.json"
            make_video(video, hours)
            run(
                *("probe-video", "--video", "long", "--path", video),
                *("--timeout", "36000", "--out", probe),
            )
            all_, some = (capture(folder, video, probe, one) for one in (None, arguments.keep_mb))
        same = "the same bytes" if all_["features"] == some["features"] else "DIFFER"
        segments = -(-int(hours * 3600 * FPS) // 48)
        cells = [
            f"{one[key]:.0f}" for key in ("scratch", "memory", "seconds") for one in (all_, some)
        ]
        lines.append(f"| {hours:g} | {segments} | {' | '.join(cells)} | {same} |")
        print(lines[-1], flush=True)
    text = "\n".join([*lines, ""])
    if arguments.markdown:
        arguments.markdown.write_text(text)
    else:
        print(text)


if __name__ == "__main__":
    main()
