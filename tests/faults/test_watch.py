"""SIGKILL to a watcher, which holds the model itself, while recordings come; then again."""

from __future__ import annotations

import json
import random
import shutil
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from campaign import Tally
from numbered import write_numbered

from hhvad.methods.headhunt.detector import Detector

FILES, FRAMES = 4, 96
BEGIN = datetime(2026, 11, 26, 10, tzinfo=UTC)


def command(folder: Path, detector: Path) -> list[str]:
    how = ["--device", "cpu", "--threads", "1", "--max-behind", "9999"]
    return [sys.executable, "-m", "hhvad", "watch", str(folder), "--detector", str(detector), *how]


def lines_of(path: Path) -> list[dict]:
    text = path.read_bytes() if path.exists() else b""
    return [json.loads(line) for line in text[: text.rfind(b"\n") + 1].splitlines()]


def told(folder: Path) -> tuple[dict[str, list[float]], list[dict]]:
    """The scores of each recording, and the events that were closed."""
    scores: dict[str, list[float]] = {}
    for line in lines_of(folder / ".watch/journal.jsonl"):
        scores.setdefault(line.get("file", ""), []).extend(line.get("scores", []))
    changes = lines_of(folder / "events.jsonl")
    return scores, [one for one in changes if one["state"] == "closed"]


def test_a_killed_watcher_loses_repeats_and_invents_nothing(
    tmp_path: Path, long: bool, tally: Tally
) -> None:
    import numpy as np

    from hhvad.artifacts import hdf5
    from hhvad.cli.detect import detector_file

    video = write_numbered(tmp_path / "video.mkv", FRAMES)
    folder = tmp_path / "whole"
    (folder / "door").mkdir(parents=True)
    names = []
    for number in range(FILES):
        at = BEGIN + timedelta(seconds=number * FRAMES / 30)
        names.append(f"door/door_{at:%Y%m%dT%H%M%S}.{at.microsecond // 1000:03d}Z.mkv")
        shutil.copy(video, folder / names[-1])
    demo = detector_file("demo")
    assert Detector.read(demo).sampling["segment_length"] == 48
    content = hdf5.read(demo, "detector")
    locator = {**content.provenance["locator"], "tau": 0.0, "causal": True}  # all is an event
    detector = tmp_path / "detector.h5"
    hdf5.write(detector, "detector", content.arrays, {**content.provenance, "locator": locator})
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    subprocess.run([*command(folder, detector), "--once"], check=True, timeout=300, **quiet)
    scores, closed = told(folder)
    assert sum(map(len, scores.values())) == FILES * FRAMES / 48
    assert np.isfinite([one["peak_score"] for one in closed]).all()
    assert len(closed) == 1

    rng = random.Random(1)
    killed = tmp_path / "killed"
    (killed / "door").mkdir(parents=True)
    for number in range(12 if long else 2):
        run = subprocess.Popen(command(killed, detector), **quiet)
        if number < FILES:
            shutil.copy(video, tmp_path / "part")
            (tmp_path / "part").rename(killed / names[number])
        end = time.monotonic() + rng.uniform(2, 6)
        while time.monotonic() < end:
            time.sleep(0.01)
        run.send_signal(signal.SIGKILL)
        run.wait()
        tally.tried("SIGKILL: watcher")
    for name in names:
        if not (killed / name).exists():
            shutil.copy(video, killed / name)
    subprocess.run([*command(killed, detector), "--once"], check=True, timeout=300, **quiet)
    found, again = told(killed)
    assert {k: v for k, v in found.items() if v} == {k: v for k, v in scores.items() if v}
    assert again == closed
