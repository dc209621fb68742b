"""How many cameras one model keeps up with: a watcher of simulated cameras, in real time.

    python benchmarks/live.py [--cameras 1 4 8] [--seconds 60] [--file 3.2] [--threads 1]
    python benchmarks/live.py --model internvl3-8b --device cuda:0 --file 10 --cameras 1 20 50

Each camera finishes a file of `--file` seconds again and again, at 30 frames a second, as
`hhvad record` does; cameras are spread evenly in time. By default the files are a scene of the
demo, decoded and judged by the demo's detector. With --model the network has the geometry of a
real one and random weights, and frames are made up: what is measured is the model and the watcher,
not the decoding. The real-time factor is the model's seconds per second of footage.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from itertools import chain, count, islice
from pathlib import Path
from typing import Any

import av
import numpy as np
from capture import build, prompts

from hhvad.artifacts.probe import Probe
from hhvad.cli import detect
from hhvad.demo.plan import scenes
from hhvad.demo.scenes import render
from hhvad.live.watch.folder import Clip
from hhvad.live.watch.outputs import Output
from hhvad.live.watch.watcher import EVENTS, STATE, Settings, Watcher
from hhvad.localization.locator import Locator
from hhvad.media.probe import probe
from hhvad.media.time import FrameTimes
from hhvad.methods.headhunt.detector import Coming, Detector
from hhvad.records import HeadId

LENGTH, FPS = 48, 30  # frames of a segment, frames a second


class Demo:
    """The demo's detector on a real file."""

    def __init__(self, device: str, threads: int, seconds: float) -> None:
        how = argparse.Namespace(detector="demo", model=None, device=device, threads=threads)
        self.threads = threads
        path = detect.detector_file("demo")
        self.detector = Detector.read(path)
        self.engine = detect.load_engine(how, path, self.detector)
        self.file = _scene(round(seconds * FPS))

    def open(self, clip: Clip) -> tuple[Probe, Coming]:
        info = probe(clip.path)
        return info, self.detector.stream(
            clip.path, info, clip.camera, threads=self.threads, timeout=60
        )

    def judge(self, frames: Any, seconds: Any) -> Any:
        return np.maximum(self.detector.judge(self.engine, frames, seconds), 0.9)


class Random:
    """A network of random weights on frames that are made up."""

    def __init__(self, name: str, device: str, seconds: float) -> None:
        _, self.engine, self.geometry = build(name, device)
        last = max(1, self.engine.info.layers * 2 // 3)  # experts of the paper lie before that
        self.heads = [HeadId(last - 1, head) for head in range(5)]
        self.prompt = prompts(1)
        self.frame_count = round(seconds * FPS)
        self.file = b"-"
        size = (self.geometry.frames, self.geometry.size, self.geometry.size, 3)
        self.frames = np.random.default_rng(0).integers(0, 256, size, np.uint8)

    def open(self, clip: Clip) -> tuple[Probe, Coming]:
        info = Probe(
            fps=float(FPS), fps_fraction=str(FPS), frames=self.frame_count, width=1, height=1,
            duration=self.frame_count / FPS, codec="", rotation=0, mirrored=False, pixel_aspect="1",
            decoder="pyav", bytes=1, fingerprint="", started=None,
            times=FrameTimes(self.frame_count, Fraction(FPS)),
        )  # fmt: skip
        starts = range(0, self.frame_count, LENGTH)
        bounds = np.array([[start, min(start + LENGTH, self.frame_count)] for start in starts])

        def frames() -> Iterator[Any]:
            for _ in starts:
                yield self.frames

        return info, Coming(bounds, np.zeros((len(bounds), len(self.frames))), frames())

    def judge(self, frames: Any, seconds: Any) -> Any:
        self.engine.capture(frames, self.prompt, heads=self.heads, seconds=None)
        return np.full(len(frames), 0.9)  # each chunk changes an event: each is an alert


def _scene(frames: int) -> bytes:
    """A scene of the demo, as the bytes of a file of so many frames."""
    scene = scenes(0)["test-12-fight"][1]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "scene.mkv"
        with av.open(str(path), "w") as container:
            stream = container.add_stream("libx264", rate=FPS)
            pictures = islice(chain.from_iterable(render(scene) for _ in count()), frames)
            for number, picture in enumerate(pictures):
                if not number:
                    stream.height, stream.width = picture.shape[:2]
                    stream.pix_fmt = "yuv420p"
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
            container.mux(stream.encode())
        return path.read_bytes()


def film(root: Path, file: bytes, cameras: int, seconds: float, each: float) -> None:
    """Let cameras finish files in real time for so many seconds."""
    begun = time.time()
    due = sorted(
        (begun + each * (number + 1) + each * camera / cameras, camera)
        for camera in range(cameras)
        for number in range(max(1, int(seconds / each)))
    )
    for end, camera in due:
        time.sleep(max(0.0, end - time.time()))
        start = datetime.fromtimestamp(end, UTC) - timedelta(seconds=each)
        name = f"{start:%Y%m%dT%H%M%S}.{start.microsecond // 1000:03d}Z"
        target = root / f"cam{camera}/cam{camera}_{name}.mkv"
        target.parent.mkdir(exist_ok=True)
        part = target.with_suffix(".part")
        part.write_bytes(file)
        part.rename(target)


def measure(model: Demo | Random, cameras: int, seconds: float, each: float) -> dict[str, Any]:
    """One row of the table."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        watcher = Watcher(
            root, model.open, model.judge, Locator(0.5, 0.5, causal=True), stamp="benchmark",
            settings=Settings(gap=each / 4, max_behind=60),
        )  # fmt: skip
        alerts: list[float] = []

        def alert(line: bytes) -> None:
            change = json.loads(line)
            if change["state"] != "closed":
                ended = datetime.fromisoformat(change["ended_at"])
                alerts.append((datetime.now(UTC) - ended).total_seconds())

        watcher.outputs.append(Output("alerts", alert, root / EVENTS, root / STATE / "alerts.told"))
        thread = threading.Thread(target=watcher.run)
        thread.start()
        film(root, model.file, cameras, seconds, each)
        time.sleep(each)
        counts = [watcher.metrics.camera(f"cam{one}") for one in range(cameras)]
        left = sum(one.waiting for one in counts)
        watcher.stop()
        thread.join()
        watcher.outputs[0].finish(5)
    late = [one for camera in counts for one in camera.latency]
    return {
        "cameras": cameras,
        "real-time factor": watcher.metrics.real_time_factor or float("nan"),
        "segment p50": np.quantile(late, 0.5) if late else float("nan"),
        "segment p95": np.quantile(late, 0.95) if late else float("nan"),
        "alert p50": np.quantile(alerts, 0.5) if alerts else float("nan"),
        "alert p95": np.quantile(alerts, 0.95) if alerts else float("nan"),
        "segments": sum(one.segments for one in counts),
        "waiting": left,
        "dropped": sum(one.dropped for one in counts),
    }


def main(argv: list[str] | None = None) -> int:
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    p.add_argument("--model", help="a geometry of benchmarks/capture.py; default: the demo's model")
    p.add_argument("--device", default="cpu")
    p.add_argument("--threads", type=int, default=1)
    p.add_argument("--cameras", type=int, nargs="+", default=[1, 4, 8])
    p.add_argument("--seconds", type=float, default=60.0, help="of footage of each camera")
    p.add_argument("--file", type=float, default=3.2, help="seconds of footage in a file")
    given = p.parse_args(argv)
    model: Demo | Random
    if given.model:
        model = Random(given.model, given.device, given.file)
    else:
        model = Demo(given.device, given.threads, given.file)
    measure(model, 1, given.file, given.file)  # warms up
    rows = [measure(model, one, given.seconds, given.file) for one in given.cameras]
    print("| " + " | ".join(rows[0]) + " |")
    print("|" + "---|" * len(rows[0]))
    for row in rows:
        values = (f"{one:.2f}" if isinstance(one, float) else str(one) for one in row.values())
        print("| " + " | ".join(values) + " |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
