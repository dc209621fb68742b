"""SIGKILL to jobs, to the resident model and to snakemake; the same command until it is done."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time

import pytest
from campaign import Tally
from study import Study, make_study

KINDS = ("job", "model", "snakemake")


def victims(study: Study, kind: str, run: subprocess.Popen[bytes]) -> list[int]:
    """Processes of a kind that can be killed now."""
    if kind == "snakemake":
        return [run.pid]
    found = study.processes()
    if kind == "model":
        return [pid for pid, words in found.items() if "serve-model" in words]
    return [
        pid
        for pid, words in found.items()
        if "/hhvad " in words and "serve-model" not in words and "stop-resident" not in words
    ]


def run_with_kills(study: Study, rng: random.Random, wanted: int, tally: Tally) -> int:
    """Run the workflow to its end with up to `wanted` kills on the way; how many there were.

    After a random while the kind that was killed least is next: as soon as there is one of it. So
    the kills reach into the captures, the only time that there is a model.
    """
    kills = 0
    while True:
        run = study.start("--cores", "3", output=study.folder / "output.txt")
        due = time.monotonic() + rng.uniform(0.2, 3)
        while run.poll() is None and kills < wanted:
            time.sleep(0.05)
            kind = min(KINDS, key=lambda kind: (tally.faults[f"SIGKILL: {kind}"], kind))
            found = sorted(victims(study, kind, run)) if time.monotonic() > due else []
            if found and run.poll() is None:
                try:
                    os.kill(rng.choice(found), signal.SIGKILL)
                except ProcessLookupError:
                    continue
                kills += 1
                tally.tried(f"SIGKILL: {kind}")
                due = time.monotonic() + rng.uniform(0.2, 3)
                if kind == "snakemake":
                    break
        code = run.wait(timeout=600)
        if code == 0:
            return kills
        if code < 0:
            # Its jobs go on for a while, as after any kill -9; the README says what to do.
            done = study.snakemake("--unlock")
            assert done.returncode == 0, done.stdout


def test_kills(finished: Study, tmp_path, tally: Tally, long: bool):
    rng = random.Random(20261121)
    wanted, rounds = (60, 12) if long else (6, 1)
    kills = 0
    for number in range(rounds):
        study = make_study(tmp_path / f"killed-{number}")
        kills += run_with_kills(study, rng, min(wanted - kills, 15), tally)
        assert study.planned() == {}
        found, expected = study.results(), finished.results()
        assert sorted(found) == sorted(expected)
        differing = [name for name in expected if found[name] != expected[name]]
        tally.differing(differing)
        assert differing == []
        strays = [str(path) for path in study.folder.rglob(".hhvad-*")]
        assert strays == []
        # The resident model of an orphaned job ends when it is idle.
        end = time.monotonic() + 90
        while left := study.processes():
            assert time.monotonic() < end, left
            time.sleep(1)
        if kills >= wanted:
            break
    assert kills >= (wanted if long else 1)


def test_cores_and_folders_change_no_byte(finished: Study, tmp_path, long: bool, tally: Tally):
    if not long:
        pytest.skip("only in `make faults`")
    for cores in ("1", "4"):
        study = make_study(tmp_path / "elsewhere" / f"another folder {cores}")
        done = study.snakemake("--cores", cores)
        assert done.returncode == 0, done.stdout
        assert study.results() == finished.results()
        tally.tried("determinism: another folder, 1 and 4 cores")
