"""The whole workflow through a real Slurm with the shipped profile: bundles, faults, kills."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from study import ROOT, Study

# The profile as it is; only what makes a test wait is shorter, and Slurm has no database here.
SLURM = (
    "--profile", str(ROOT / "profiles/slurm"),
    "--slurm-status-command", "squeue",
    "--slurm-init-seconds-before-status-checks", "5",
    "--max-status-checks-per-second", "10",
    "--latency-wait", "10",
    "--slurm-keep-successful-logs",
    "--cores", "4",
)  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def _slurm():
    """A controller that answers, and no job of an earlier test in its queue."""
    if shutil.which("sbatch") is None:
        pytest.skip("Slurm is not installed: sbatch is not on the PATH")
    try:
        ping = subprocess.run(["scontrol", "ping"], capture_output=True, text=True, timeout=20)
    except subprocess.TimeoutExpired:
        pytest.skip("Slurm's controller does not answer")
    if " UP" not in ping.stdout:
        pytest.skip(f"Slurm's controller is not up: {ping.stdout.strip()}")
    yield
    subprocess.run(["scancel", "--me"], check=False)


@pytest.fixture
def start(new_study: Study):
    """Start the study's run through Slurm without waiting for it."""
    runs = []

    def start() -> subprocess.Popen[bytes]:
        runs.append(new_study.start(*SLURM, output=new_study.folder / "output.txt"))
        return runs[-1]

    yield start
    for run in runs:
        if run.poll() is None:
            os.killpg(run.pid, signal.SIGKILL)
            run.wait()
    subprocess.run(["scancel", "--me"], check=False)


def assert_same(found: dict[str, bytes], wanted: dict[str, bytes]) -> None:
    assert sorted(found) == sorted(wanted)
    assert [name for name in found if found[name] != wanted[name]] == []


def wait_for(what: Callable[[], object], seconds: float = 120) -> object:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := what():
            return found
        time.sleep(0.2)
    raise AssertionError(f"nothing came in {seconds} s")


def running() -> list[str]:
    """Slurm's ids of my running jobs."""
    done = subprocess.run(
        ["squeue", "--me", "--noheader", "--states=R", "--format=%i"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout.split()


def captures_planned(study: Study) -> set[Path]:
    """The captures that the next run would make."""
    paths = set()
    for (rule, wildcards), _ in study.planned().items():
        if rule == "capture_heads":
            name = dict(pair.split("=") for pair in wildcards.split(", "))
            path = "results/demo/heads/{model}/{view}/{prompt}/{video}.h5".format(**name)
            paths.add(study.folder / path)
    return paths


def loads(study: Study) -> set[str]:
    """The processes that loaded the model."""
    logs = (study.folder / "logs/demo/capture_heads").rglob("*.log")
    return {pid for log in logs for pid in re.findall(r"loaded .* process (\d+)", log.read_text())}


def test_the_same_bytes_as_a_local_run_and_one_load_an_allocation(
    finished: Study, new_study: Study
):
    # With the names of the cluster filled in.
    text = (ROOT / "profiles/slurm/config.yaml").read_text()
    lines = text.replace("# slurm_partition", "slurm_partition").splitlines()
    first = lines.index("# set-resources:")
    last = first + lines[first:].index("")
    lines[first:last] = [line.removeprefix("# ") for line in lines[first:last]]
    (new_study.folder / "filled").mkdir()
    (new_study.folder / "filled/config.yaml").write_text("\n".join(lines))
    done = new_study.snakemake("--profile", "filled", *SLURM[2:], "--logger-hhvad-full")
    assert done.returncode == 0, done.stdout
    assert_same(new_study.results(), finished.results())
    bundles = set(re.findall(r"SLURM jobid (\d+) \(log: \S*group_capture", done.stdout))
    assert len(bundles) == 1  # nine videos
    shown = subprocess.run(
        ["scontrol", "show", "job", *bundles], capture_output=True, text=True, check=True
    ).stdout
    assert "Partition=gpu" in shown
    assert "TresPerJob=gres:gpu:h200:1" in shown
    assert len(loads(new_study)) == 1
    captures = list((new_study.folder / "results/demo/heads").rglob("*.h5"))
    assert len(captures) == 4 * 5 + 5
    assert new_study.planned() == {}


def test_a_bad_video_takes_no_other_of_its_bundle_with_it(finished: Study, drawn: Study):
    bad = drawn.folder / "bad.mp4"
    bad.write_text("no video")
    rows = drawn.rows
    drawn.write_rows([*rows, {**rows[-1], "video": "bad", "path": str(bad), "events": ""}])
    done = drawn.snakemake(*SLURM, "--retries", "1")
    assert done.returncode != 0
    log = (drawn.folder / "logs/demo/probe_video/bad.log").read_text()
    assert log.startswith("hhvad: error: ")
    assert "bad.mp4: is not a video" in log
    heads = {n: v for n, v in drawn.results().items() if n.startswith("heads/")}
    wanted = {n: v for n, v in finished.results().items() if n.startswith("heads/")}
    assert_same(heads, wanted)
    # The same command goes on with what the bundle finished.
    kept = {p: p.stat().st_mtime_ns for p in (drawn.folder / "results/demo/heads").rglob("*.h5")}
    done = drawn.snakemake(*SLURM, "--retries", "0")
    assert done.returncode != 0
    assert {p: p.stat().st_mtime_ns for p in kept} == kept
    events = drawn.results()
    assert {n: v for n, v in events.items() if n.startswith("events/")} == {
        n: v for n, v in finished.results().items() if n.startswith("events/")
    }
    assert "bad.mp4: is not a video" in done.stdout


def test_a_cancelled_job_and_one_over_its_time_are_tried_again(
    finished: Study, new_study: Study, start
):
    run = start()
    first = wait_for(running)[0]
    subprocess.run(["scancel", first], check=True)
    second = wait_for(lambda: [job for job in running() if job != first])[0]
    # It would finish in time: stopped, it does not, and Slurm ends it at its limit.
    subprocess.run(["scontrol", "update", f"JobId={second}", "TimeLimit=1"], check=True)
    subprocess.run(["scancel", "--signal=STOP", "--full", second], check=True)
    code = run.wait(timeout=420)
    output = (new_study.folder / "output.txt").read_text()
    assert code == 0, output
    shown = (
        subprocess.run(["scontrol", "show", "job", first], capture_output=True, text=True).stdout
        + subprocess.run(["scontrol", "show", "job", second], capture_output=True, text=True).stdout
    )
    assert "JobState=CANCELLED" in shown
    assert "JobState=TIMEOUT" in shown
    assert output.count("Trying to restart job") == 2
    assert_same(new_study.results(), finished.results())


def test_snakemake_killed_in_mid_run_loses_nothing(finished: Study, new_study: Study, start):
    run = start()
    heads = new_study.folder / "results/demo/heads"
    wait_for(lambda: len(list(heads.rglob("*.h5"))) >= 12, 240)
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    # What its jobs still do on the cluster is ended, as the documentation says; then once more.
    subprocess.run(["scancel", "--me"], check=True)
    wait_for(lambda: not running())
    assert new_study.snakemake("--unlock").returncode == 0
    found = {path: path.stat().st_mtime_ns for path in heads.rglob("*.h5")}
    # Killed between a file's appearance and Snakemake's note of it, a job counts as under way: it
    # runs again. At most as many as ran at a time.
    again = captures_planned(new_study)
    kept = {path: time for path, time in found.items() if path not in again}
    assert len(found) - len(kept) <= 4
    assert len(kept) >= 8
    done = new_study.snakemake(*SLURM)
    assert done.returncode == 0, done.stdout
    assert_same(new_study.results(), finished.results())
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
