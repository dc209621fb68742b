"""Recorder and watcher together: cameras of a real RTSP server, recorded and judged for minutes.

    python benchmarks/record.py [--cameras 8] [--minutes 5] [--markdown benchmarks/record.md]

`rtsp-server` (aio-rtsp-toolkit) plays a scene of the demo, again and again, for each camera;
`hhvad record` writes files of ten seconds, `hhvad watch` judges them with the demo's
detector. Then it is counted what every camera sent, by the frames in its files; how far the names
of files lie from the ends of those before; whether each finished file was judged once; and
whether an event was told twice or none of them was.
"""

from __future__ import annotations

import argparse
import datetime
import json
import platform
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from itertools import chain, count, islice, pairwise
from pathlib import Path

import av
import numpy as np

from hhvad.clock import start_in_name
from hhvad.demo.plan import scenes
from hhvad.demo.scenes import render
from hhvad.live.watch.folder import NAMES

FPS = 30
EACH = 4  # cameras of a server, which has a thread for each and few of them on few cores
SCENES = ("test-12-fight", "test-10-collision", "test-01-normal", "test-13-fall")


def write_scene(path: Path, name: str, seconds: float) -> None:
    """A scene of the demo over and over, as H.264 with a key frame a second."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS)
        stream.options = {"g": str(FPS), "bf": "0"}
        pictures = chain.from_iterable(render(scenes(0)[name][1]) for _ in count())
        for number, picture in enumerate(islice(pictures, round(seconds * FPS))):
            if not number:
                stream.height, stream.width = picture.shape[:2]
                stream.pix_fmt = "yuv420p"
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        container.mux(stream.encode())


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def frames_in(path: Path) -> int:
    with av.open(str(path)) as file:
        return sum(packet.size > 0 for packet in file.demux(file.streams.video[0]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cameras", type=int, default=8)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--markdown", type=Path)
    given = parser.parse_args()
    server = shutil.which("rtsp-server", path=str(Path(sys.executable).parent))
    if server is None:
        raise SystemExit("needs aio-rtsp-toolkit: pip install aio-rtsp-toolkit")
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        (root / "films").mkdir()
        for name in SCENES:
            write_scene(root / f"films/{name}.mp4", name, 60 * given.minutes + 30)
        ports = [free_port() for _ in range(-(-given.cameras // EACH))]
        playing = [
            subprocess.Popen(
                [server, "-d", ".", "-H", "127.0.0.1", "-p", str(port), "-cp", str(free_port())],
                cwd=root / "films",
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            for port in ports
        ]
        time.sleep(3)
        cameras = [
            f"--camera=cam{n}=rtsp://127.0.0.1:{ports[n // EACH]}/{SCENES[n % len(SCENES)]}.mp4"
            for n in range(given.cameras)
        ]
        out = root / "out"
        out.mkdir()
        hhvad = [sys.executable, "-m", "hhvad"]
        record = subprocess.Popen(
            [*hhvad, "record", *cameras, "--seconds", "10", "--out", str(out)],
            stderr=(root / "record.log").open("w"),
        )
        watch = subprocess.Popen(
            [*hhvad, "watch", str(out), "--detector", "demo", "--device", "cpu"],
            stdout=(root / "events").open("w"),
            stderr=(root / "watch.log").open("w"),
        )
        time.sleep(60 * given.minutes)
        record.send_signal(signal.SIGTERM)
        record.wait(30)
        time.sleep(20)  # for the last files
        watch.send_signal(signal.SIGTERM)
        watch.wait(60)
        for one in playing:
            one.kill()
            one.wait()
        report(root, out, given)


def report(root: Path, out: Path, given: argparse.Namespace) -> None:
    files = {one.name: sorted(one.glob("*.mp4")) for one in sorted(out.glob("cam*"))}
    counts = {camera: sum(map(frames_in, paths)) for camera, paths in files.items()}
    seams, lengths = [], []
    for paths in files.values():
        for one, after in pairwise(paths):
            starts = [
                datetime.datetime.fromisoformat(start_in_name(path.name, NAMES) or "").timestamp()
                for path in (one, after)
            ]
            seams.append(abs(starts[1] - starts[0] - frames_in(one) / FPS))
            lengths.append(frames_in(one) / FPS)
    journal = [json.loads(line) for line in (out / ".watch/journal.jsonl").read_text().splitlines()]
    judged = Counter(line["file"] for line in journal if line.get("over"))
    names = {path.relative_to(out).as_posix() for paths in files.values() for path in paths}
    told = [json.loads(line) for line in (root / "events").read_text().splitlines()]
    opened = Counter(one["id"] for one in told if one["state"] == "open")
    closed = Counter(one["id"] for one in told if one["state"] == "closed")
    quiet = {one["camera"] for one in told} & {
        f"cam{n}" for n in range(given.cameras) if "normal" in SCENES[n % len(SCENES)]
    }
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    rows = {
        "cameras, minutes": f"{given.cameras}, {given.minutes:g}",
        "files, mean length": f"{len(names)}, {np.mean(lengths):.1f} s",
        "frames of a camera": f"{min(counts.values())} to {max(counts.values())}",
        "from a file's end to the start in the next one's name: p50, largest": (
            f"{1000 * np.median(seams):.0f} ms, {1000 * max(seams):.0f} ms"
        ),
        "parts left": str(len(list(out.rglob("*.part")))),
        "finished files that were judged": f"{len(names & set(judged))} of {len(names)}",
        "files judged twice": str(sum(count > 1 for count in judged.values())),
        "events opened": str(len(opened)),
        "events told twice": str(sum(count > 1 for count in opened.values())),
        "events closed": str(len(closed)),
        "cameras of normal scenes with an event": str(len(quiet)),
        "processor seconds per second, all processes": (
            f"{(spent.ru_utime + spent.ru_stime) / (60 * given.minutes):.2f}"
        ),
    }
    lines = [
        f"{datetime.date.today()}, {platform.machine()}, 2 cores; made by `benchmarks/record.py`, "
        "which says what is measured.",
        "",
        "| | |",
        "|---|---|",
        *(f"| {key} | {value} |" for key, value in rows.items()),
        "",
    ]
    text = "\n".join(lines)
    print(text)
    print((root / "record.log").read_text()[-2000:], file=sys.stderr)
    print((root / "watch.log").read_text()[-1500:], file=sys.stderr)
    if given.markdown:
        given.markdown.write_text(text)


if __name__ == "__main__":
    main()
