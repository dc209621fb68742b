"""The resident model process, mostly around a fake engine (fake_resident.py)."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from hhvad import artifacts, resident

FAKE = (sys.executable, "-P", str(Path(__file__).with_name("fake_resident.py")))
REAL = resident.COMMAND
PROMPTS = [f"Is it abnormal, put in way {i}?" for i in range(5)]


@pytest.fixture
def runtime(tmp_path, monkeypatch):
    """A runtime folder of this test's own; every process in it is killed at the end."""
    folder = tmp_path / "run"
    folder.mkdir()
    monkeypatch.setenv("HHVAD_RUNTIME_DIR", str(folder))
    monkeypatch.setenv("HHVAD_RESIDENT_EVENTS", str(tmp_path / "events"))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr(resident, "COMMAND", FAKE)
    yield folder
    for pid in living(folder):
        os.kill(pid, signal.SIGKILL)


@pytest.fixture
def fake(monkeypatch, tmp_path):
    """Sets the fake engine's behaviour; its captures are logged in tmp_path/captures."""

    def behave(**behaviour):
        behaviour["log"] = str(tmp_path / "captures")
        monkeypatch.setenv("FAKE_ENGINE", json.dumps(behaviour))

    behave()
    return behave


def living(runtime):
    """The processes that have a file of `runtime` open (their lock, their log)."""
    pids = set()
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            inside = os.readlink(link).startswith(f"{runtime}/")
        except OSError:
            continue
        if inside and int(link.parts[2]) != os.getpid():
            pids.add(int(link.parts[2]))
    return pids


def wait_until(condition, timeout=10.0):
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


def nothing_left(runtime):
    return not living(runtime) and not list(runtime.iterdir())


def write_frames(path, segments=3, seed=0, **provenance):
    frames = np.random.default_rng(seed).integers(0, 255, (segments, 2, 32, 32, 3), np.uint8)
    starts = np.arange(segments, dtype=np.int64)[:, None] * 48
    given = {"video": path.stem, "view": "video", "frames": 2, "segment_length": 48}
    given |= {"size": [32, 32], "resize": "bicubic", "fps": 25.0, "decoder": "decord"}
    given |= {"n_frames": 48 * segments} | provenance
    arrays = {
        "frames": frames,
        "indices": starts + np.arange(2),
        "segments": np.concatenate([starts, starts + 48], axis=1),
    }
    artifacts.write(path, "frames", arrays, given)
    return path


def job_of(frames, out, prompt=PROMPTS[0], **other):
    job = {"frames": str(frames), "out": str(out), "prompt": prompt, "prompt_id": "p"}
    job |= {"siblings": PROMPTS, "heads": None, "experts": None, "batch_size": "auto"}
    return job | {"model_name": "fake", "revision": None} | other


def capture(job, report=lambda event: None, device="cpu", idle=30.0):
    holdings = resident.on_devices(resident.Holding("model", device=device))
    return resident.Resident(holdings, idle_timeout=idle).capture(job, report)


def lines(path):
    return path.read_text().splitlines() if path.exists() else []


def captures(tmp_path):
    return [json.loads(line) for line in lines(tmp_path / "captures")]


# --- one load for all ---


def test_many_jobs_at_once_load_the_model_once(runtime, fake, tmp_path):
    fake(load=0.3)
    videos = [write_frames(tmp_path / f"v{i}.h5", seed=i) for i in range(8)]
    jobs = [
        job_of(video, tmp_path / f"{video.stem}-{i}.h5", prompt)
        for i, prompt in enumerate(PROMPTS)
        for video in videos
    ]
    with ThreadPoolExecutor(16) as pool:
        done = list(pool.map(capture, jobs))
    assert len(lines(tmp_path / "events")) == 1
    assert [prompts for _, prompts in captures(tmp_path)] == [PROMPTS] * 0 + [
        prompts for _, prompts in captures(tmp_path)
    ]
    # Each (video, prompt) was computed once: by its own job or in a sibling's pass.
    assert sum(len(prompts) for _, prompts in captures(tmp_path)) == len(jobs)
    assert sum(d["kept"] for d in done) == len(jobs) - len(videos)
    assert resident.stop() == (1, 0)
    assert nothing_left(runtime)
