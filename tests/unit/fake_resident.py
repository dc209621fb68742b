"""`hhvad serve-model` around a fake engine: hhvad's tests start it as the resident process.

FAKE_ENGINE sets what it does, as JSON: "load" and "segment" (seconds), "fail" and "bug" ("load" or
"capture"), "log" (a file that gets a line a capture, with its prompts), "real" (true for the real
engine after all). A prompt with the word deadly kills the process.
"""

from __future__ import annotations

import json
import os
import signal
import time
import zlib
from functools import cache
from pathlib import Path
from types import SimpleNamespace

from hhvad.errors import ModelError


class FakeEngine:
    """Features that depend on the frames, the prompt and the head, and on nothing else."""

    info = SimpleNamespace(
        torch="0",
        transformers="0",
        architecture="fake",
        layers=3,
        heads=4,
        head_dim=2,
        dtype="float32",
        device="cpu",
        fingerprint="f",
        commit=None,
        dtype_reason="",
        tells_time=False,
    )

    def __init__(self, behaviour):
        self.behaviour = behaviour

    @classmethod
    def load(cls, model, *, revision=None, dtype="auto", device="auto", threads=None):
        behaviour = json.loads(os.environ.get("FAKE_ENGINE", "{}"))
        time.sleep(behaviour.get("load", 0))
        if behaviour.get("fail") == "load":
            raise ModelError(f"{model}: no such checkpoint")
        if behaviour.get("bug") == "load":
            raise RuntimeError("a bug while loading")
        return cls(behaviour)

    def __str__(self):
        return "fake"

    def text(self, prompt, n_frames, size=None, system="", told=None):
        return f"{system}<{n_frames} frames> {prompt}"

    def capture(
        self, frames, prompts, *, system="", heads=None, batch_size="auto", progress=None, **told
    ):
        if self.behaviour.get("log"):
            with Path(self.behaviour["log"]).open("a") as file:
                file.write(json.dumps([os.getpid(), list(prompts)]) + "\n")
        if "deadly" in prompts[0]:
            time.sleep(0.2)
            os.kill(os.getpid(), signal.SIGKILL)
        if self.behaviour.get("fail") == "capture":
            raise ModelError("out of memory for one segment")
        if self.behaviour.get("bug") == "capture":
            raise RuntimeError("a bug while computing")
        import numpy as np

        results = [np.zeros((len(frames), 3, 4, 2), np.float32) for _ in prompts]
        for s in range(len(frames)):
            time.sleep(self.behaviour.get("segment", 0))
            for prompt, result in zip(prompts, results, strict=True):
                seed = zlib.crc32(prompt.encode()) + int(frames[s].sum())
                result[s] = np.random.default_rng(seed).standard_normal((3, 4, 2))
            if progress is not None:
                progress(s + 1, len(frames))
        if heads is None:
            return results
        return [np.stack([r[:, h.layer, h.head] for h in heads], axis=1) for r in results]


def run_client(job):
    """A job in a process of its own: `job` is JSON."""
    import sys

    from hhvad.resident import client as resident

    here = [resident.Holding("model", device="cpu")]
    command = (sys.executable, "-P", str(Path(__file__).resolve()))
    resident.Resident(here, command=command).ask(json.loads(job), lambda event: None)


def main():
    import argparse

    from hhvad.cli.models import _load
    from hhvad.mllm.tasks import find
    from hhvad.resident import client as resident
    from hhvad.resident import server as serve

    parser = argparse.ArgumentParser()
    for name in ("folder", "code", "model", "revision", "dtype", "device"):
        parser.add_argument(f"--{name}", required=True)
    for name in ("lock", "listener", "threads"):
        parser.add_argument(f"--{name}", required=True, type=int)
    parser.add_argument("--idle-timeout", required=True, type=float)
    arguments = vars(parser.parse_args())
    arguments["folder"] = Path(arguments["folder"])
    if arguments["code"] != "another":  # whoever edits the package while its tests run
        resident.code_version = cache(lambda: arguments["code"])
    real = json.loads(os.environ.get("FAKE_ENGINE", "{}")).get("real")
    serve.main(**arguments, load=_load if real else FakeEngine.load, find=find)


if __name__ == "__main__":
    main()
