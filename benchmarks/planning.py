"""What planning costs with many videos: ours against a bare workflow of as many jobs.

    python benchmarks/planning.py [--videos 1000 10000] [--markdown benchmarks/planning.md]

A study of N videos is made of empty files, 100 of them calibration videos that are asked five
prompts, 100 for validation. Nothing is computed: a stand-in for `hhvad` touches the outputs. Both
workflows, in turns:

- plan: `snakemake --dry-run` where nothing has run;
- no-op: `snakemake` where everything has, with Snakemake's records of it;
- one more: `snakemake` after one video was added to the sheet. The stand-in takes no time, so this
  is what a run spends beside the new video's own jobs.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from hhvad.files import write_tsv
from hhvad.sheet import COLUMNS

ROOT = Path(__file__).resolve().parents[1]

BARE = """
N = int(open("videos.txt").read())
PROMPTS = range(5)
rule all:
    input: "metrics"
rule frames:
    output: "frames/{v}"
    shell: "touch {output}"
rule capture:
    input: "frames/{v}"
    output: "heads/{p}/{v}"
    shell: "touch {output}"
rule score:
    input: lambda w: [f"heads/{p}/{w.v}" for p in PROMPTS]
    output: "scores/{v}"
    shell: "touch {output}"
rule events:
    input: "scores/{v}"
    output: "events/{v}"
    shell: "touch {output}"
rule metrics:
    input: [f"events/{v}" for v in range(N)]
    output: "metrics"
    shell: "touch {output}"
"""
# Jobs a video of the bare workflow: frames, five captures, score, events.
BARE_JOBS = 8

# `snakemake --touch` waits a tenth of a second at each job, so that time stamps differ by seconds;
# to its records of what was made it is all the same.
SNAKEMAKE = """
from snakemake.executors.touch import Executor
from snakemake.cli import main
Executor.SLEEPING_TIME = 0
main()
"""

# Every word after --out is a file, up to the next flag; figures are the words of --roc and so on.
STAND_IN = """#!/bin/bash
for word in "$@"; do
    case "$word" in
        results/*|logs/*) mkdir -p "$(dirname "$word")"; test -e "$word" || : > "$word" ;;
    esac
done
"""


@dataclass(frozen=True)
class Run:
    """One call of snakemake: wall seconds, GiB of memory at its peak, and what it printed."""

    seconds: float
    gib: float
    output: str


def snakemake(folder: Path, *flags: str) -> Run:
    """Run snakemake in a study, with the stand-in before hhvad on the PATH."""
    command = [sys.executable, "-c", SNAKEMAKE, "--cores", "1", *flags]
    path = f"{folder / 'bin'}{os.pathsep}{Path(sys.executable).parent}{os.pathsep}"
    with tempfile.TemporaryFile("w+") as output:
        start = time.monotonic()
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, "PATH": path + os.environ["PATH"]},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.monotonic() - start
        output.seek(0)
        text = output.read()
    if process.returncode:
        raise SystemExit(f"{' '.join(command)}\n{text[-3000:]}")
    return Run(seconds, usage.ru_maxrss / 2**20, text)


def rows(videos: int, added: int) -> list[list[str]]:
    """A sheet: 100 videos calibrate, 100 validate, the rest is for the test.

    The added ones are as `hhvad add-videos` adds them: for the test, and not annotated.
    """
    table = []
    for number in range(videos):
        split = {0: "calibration", 1: "validation"}.get(number // 100, "test")
        bad = number // 10 % 2
        row = dict.fromkeys(COLUMNS, "")
        row |= {
            "video": f"video-{number:05d}",
            "path": f"videos/{number:05d}.mp4",
            "split": split,
            "label": "anomaly" if bad else "normal",
            "events": "10-20" if bad and split != "calibration" else "",
        }
        table.append([row[column] for column in COLUMNS])
    for number in range(videos, videos + added):
        row = dict.fromkeys(COLUMNS, "")
        row |= {"video": f"video-{number:05d}", "path": f"videos/{number:05d}.mp4", "split": "test"}
        table.append([row[column] for column in COLUMNS])
    return table


class Ours:
    """The project's Snakefile over N empty files."""

    name = "hhvad"

    def __init__(self, folder: Path, videos: int) -> None:
        self.folder, self.videos, self.added = folder, videos, 0
        shutil.copytree(ROOT / "config", folder / "config")
        (folder / "bin").mkdir()
        (folder / "bin/hhvad").write_text(STAND_IN)
        (folder / "bin/hhvad").chmod(0o755)
        (folder / "videos").mkdir()
        self.write()

    def write(self) -> None:
        write_tsv(self.folder / "config/videos.tsv", COLUMNS, rows(self.videos, self.added))
        for number in range(self.videos + self.added):
            file = self.folder / f"videos/{number:05d}.mp4"
            if not file.exists():
                file.write_bytes(b"")

    def run(self, *flags: str) -> Run:
        return snakemake(self.folder, "--snakefile", str(ROOT / "Snakefile"), *flags)

    def add_one(self) -> None:
        self.added += 1
        self.write()


class Bare:
    """Five rules and as many jobs."""

    name = "bare"

    def __init__(self, folder: Path, jobs: int) -> None:
        self.folder, self.videos = folder, round(jobs / BARE_JOBS)
        folder.mkdir(parents=True)
        (folder / "Snakefile").write_text(BARE)
        self.write()

    def write(self) -> None:
        (self.folder / "videos.txt").write_text(str(self.videos))

    def run(self, *flags: str) -> Run:
        return snakemake(self.folder, *flags)

    def add_one(self) -> None:
        self.videos += 1
        self.write()


def make_outputs(study: Ours | Bare, plan: Run) -> None:
    """Create what the plan lists, oldest steps first, and let Snakemake take it for its own."""
    outputs: list[str] = []
    for line in plan.output.splitlines():
        if match := re.match(r"    output: (.*)", line):
            outputs += match[1].removesuffix(" (send to storage)").split(", ")
    for name in outputs:
        file = study.folder / name.split(" (")[0]
        if file.name == "viewer":  # a folder
            file.mkdir(parents=True, exist_ok=True)
            continue
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"")
    # Snakemake's default, a solver, takes hours over as many jobs as can start here at once.
    study.run("--touch", "--forceall", "--scheduler", "greedy", "--quiet", "all")


def jobs_of(plan: Run) -> int:
    """The number of jobs that a dry run lists."""
    found = re.findall(r"^total +(\d+)$", plan.output, re.MULTILINE)
    return int(found[0])


def measure(folder: Path, videos: int, repeats: int) -> list[dict[str, object]]:
    """The three figures of both workflows; the best of some repeats, in turns."""
    first = Ours(folder / "hhvad", videos)
    jobs = jobs_of(first.run("--dry-run"))
    studies = [first, Bare(folder / "bare", jobs)]
    table: list[dict[str, object]] = [
        {"workflow": study.name, "videos": videos, "jobs": jobs_of(study.run("--dry-run"))}
        for study in studies
    ]

    def timed(what: str, *flags: str) -> None:
        runs: list[list[Run]] = [[], []]
        for _ in range(repeats):
            for number, study in enumerate(studies):
                runs[number].append(study.run(*flags))
        for number, row in enumerate(table):
            row[what] = min(run.seconds for run in runs[number])
            row["GiB"] = max(float(row.get("GiB", 0)), *(run.gib for run in runs[number]))  # type: ignore[arg-type]
            print(f"{row['workflow']} {videos} {what}: {row[what]:.1f} s", flush=True)

    timed("plan", "--dry-run", "--quiet", "all")
    for study in studies:
        make_outputs(study, study.run("--dry-run"))
    for study in studies:
        left = study.run("--dry-run").output
        if "Nothing to be done" not in left or "missing provenance" in left:
            raise SystemExit(f"{study.name}: not all is made and on record\n{left[-3000:]}")
    timed("no-op", "--quiet", "all")
    for study, row in zip(studies, table, strict=True):
        study.add_one()
        row["one more"] = study.run("--quiet", "all").seconds
        print(f"{row['workflow']} {videos} one more: {row['one more']:.1f} s", flush=True)
    return table


def markdown(table: list[dict[str, object]]) -> str:
    """The figures as a table, ours under bare, and the ratios."""
    today = datetime.date.today()
    lines = [
        f"{today}, {platform.machine()}, {os.cpu_count()} cores, `--cores 1`; made by"
        " `benchmarks/planning.py`, where every column is explained.",
        "",
        "| videos | workflow | jobs | plan, s | no-op, s | one more, s | peak memory, GiB |",
        "|---|---|---|---|---|---|---|",
    ]
    for ours, bare in zip(table[::2], table[1::2], strict=True):
        for row in (bare, ours):
            seconds = " | ".join(f"{row[what]:.1f}" for what in ("plan", "no-op", "one more"))
            lines.append(
                f"| {row['videos']} | {row['workflow']} | {row['jobs']} | {seconds}"
                f" | {row['GiB']:.2f} |"
            )
        ratios = " | ".join(
            f"{float(ours[what]) / float(bare[what]):.2f}"  # type: ignore[arg-type]
            for what in ("plan", "no-op", "one more", "GiB")
        )
        lines.append(f"| {ours['videos']} | ratio | | {ratios} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--videos", type=int, nargs="+", default=[1000, 10000])
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--markdown", type=Path)
    words = parser.parse_args()
    table: list[dict[str, object]] = []
    for videos in words.videos:
        with tempfile.TemporaryDirectory(prefix="hhvad-planning-") as folder:
            table += measure(Path(folder), videos, words.repeats)
    text = markdown(table)
    print(text)
    if words.markdown:
        words.markdown.write_text(text)


if __name__ == "__main__":
    main()
