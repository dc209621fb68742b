"""Small studies in folders of their own, run with the real Snakefile."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

from hhvad.files import read_tsv, write_tsv
from hhvad.sheet import COLUMNS

ROOT = Path(__file__).resolve().parents[1]
_JOB = re.compile(r"^(?:local)?rule (\w+):$")


@dataclass(frozen=True)
class Study:
    """A working directory with a config/ of its own and the project's Snakefile."""

    folder: Path

    def snakemake(self, *arguments: str, timeout: float = 1800) -> subprocess.CompletedProcess[str]:
        """Run snakemake here, as a user would, and return what it printed."""
        command = ["snakemake", "--snakefile", str(ROOT / "Snakefile"), *arguments]
        if not any(argument.startswith("--cores") for argument in arguments):
            command += ["--cores", "2"]
        return self.run(*command, timeout=timeout)

    def start(self, *arguments: str, output: Path) -> subprocess.Popen[bytes]:
        """Start snakemake here, in a session of its own; what it prints goes into a file.

        A file, and no pipe: nobody reads while it runs, and a full pipe would stop it.
        """
        with output.open("ab") as stdout:
            return subprocess.Popen(
                ["snakemake", "--snakefile", str(ROOT / "Snakefile"), *arguments],
                cwd=self.folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def processes(self) -> dict[int, str]:
        """Processes of the study's runs, wherever they are, with the words they began with."""
        mark = f"HHVAD_RUNTIME_DIR={self.folder / 'run'}\0".encode()
        found = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdecimal() and int(entry.name) != os.getpid():
                try:
                    if mark in (entry / "environ").read_bytes() + b"\0":
                        words = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                        if words:  # else it has ended and waits for its parent
                            found[int(entry.name)] = words
                except OSError:
                    continue
        return found

    def kill_job(self, subcommand: str, *arguments: str) -> None:
        """Run snakemake with SIGKILL to the first `hhvad SUBCOMMAND`; the run must fail of it."""
        run = self.start("--cores", "1", *arguments, output=self.folder / "output.txt")
        killed = False
        while run.poll() is None:
            time.sleep(0.02)
            for pid, words in self.processes().items():
                if not killed and f"/hhvad {subcommand} " in words:
                    os.kill(pid, signal.SIGKILL)
                    killed = True
        assert killed, (self.folder / "output.txt").read_text()
        assert run.returncode == 1

    @property
    def _environment(self) -> dict[str, str]:
        own = {
            "PATH": _first(str(Path(sys.executable).parent), os.environ["PATH"]),
            "HHVAD_RUNTIME_DIR": str(self.folder / "run"),
            "PYTHONPATH": _first(str(ROOT / "tests/light_steps"), os.environ.get("PYTHONPATH", "")),
            "HHVAD_TEST_LIGHT": ",".join(light_commands()),
        }
        return {**os.environ, **own}

    def results(self) -> dict[str, bytes]:
        """All artifacts and figures of the demo's study by name."""
        folder = self.folder / "results/demo"
        files = (path for path in folder.rglob("*") if path.is_file())
        return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(files)}

    def run(self, *command: str, timeout: float = 1800) -> subprocess.CompletedProcess[str]:
        """Run any command here with the environment's programs on the PATH."""
        return subprocess.run(
            command,
            cwd=self.folder,
            env=self._environment,
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=timeout,
        )

    def planned(self, *arguments: str) -> Counter[tuple[str, str]]:
        """The jobs of a dry run: (rule, its wildcards as `video=a, prompt=b`)."""
        done = self.snakemake("--dry-run", *arguments)
        assert done.returncode == 0, done.stdout
        jobs: Counter[tuple[str, str]] = Counter()
        rule = ""
        for line in done.stdout.splitlines():
            if match := _JOB.match(line):
                rule = match[1]
                jobs[rule, ""] += 1
            elif line.startswith("    wildcards: ") and rule:
                jobs[rule, ""] -= 1
                jobs[rule, line.removeprefix("    wildcards: ")] += 1
                rule = ""
        return +jobs

    @property
    def config(self) -> dict:
        return yaml.safe_load((self.folder / "config/config.yaml").read_text())

    def change_method(self, name: str = "headhunt", /, **sections: object) -> None:
        """Merge keys into a method."""
        self.change_config(methods=_merged(self.config["methods"], {name: sections}))

    def change_config(self, **sections: object) -> None:
        """Merge keys into config.yaml."""
        config = self.config
        for key, value in sections.items():
            if isinstance(value, dict):
                config.setdefault(key, {}).update(value)
            else:
                config[key] = value
        (self.folder / "config/config.yaml").write_text(yaml.safe_dump(config))

    @property
    def prompts(self) -> dict:
        return yaml.safe_load((self.folder / "config/prompts.yaml").read_text())

    def write_prompts(self, prompts: dict) -> None:
        (self.folder / "config/prompts.yaml").write_text(yaml.safe_dump(prompts, sort_keys=False))

    @property
    def rows(self) -> list[dict[str, str]]:
        return read_tsv(self.folder / "config/videos.tsv")

    def write_rows(self, rows: list[dict[str, str]]) -> None:
        table = [[row[column] for column in COLUMNS] for row in rows]
        write_tsv(self.folder / "config/videos.tsv", COLUMNS, table)

    def copy(self, folder: Path) -> Study:
        """The whole working directory again, time stamps and Snakemake's records included."""
        shutil.copytree(self.folder, folder, symlinks=True)
        return Study(folder)


def _first(folder: str, others: str) -> str:
    return os.pathsep.join(part for part in (folder, others) if part)


@cache
def light_commands() -> list[str]:
    """The commands of the rules whose environment is the light one."""
    found = []
    for file in sorted((ROOT / "rules").rglob("*.smk")):
        for rule in re.split(r"^\s*rule ", file.read_text(), flags=re.MULTILINE)[1:]:
            if "envs/light.yaml" in rule:
                found += re.findall(r"hhvad ([a-z-]+)", rule)
    assert "probe-video" in found
    assert "capture-heads" not in found
    return found


def few_rows() -> list[dict[str, str]]:
    """The shipped sheet cut down: two calibration videos a class, two validation, three test."""
    rows = read_tsv(ROOT / "config/videos.tsv")
    wanted = {
        ("calibration", "normal"): 2,
        ("calibration", "anomaly"): 2,
        ("validation", "normal"): 1,
        ("validation", "anomaly"): 1,
        ("test", "normal"): 1,
        ("test", "anomaly"): 2,
    }
    chosen = []
    for row in rows:
        key = row["split"], row["label"]
        if wanted.get(key, 0):
            wanted[key] -= 1
            chosen.append(row)
    return chosen


def make_study(folder: Path) -> Study:
    """A study of few demo videos and the shipped model, without sentences; nothing has run yet."""
    shutil.copytree(ROOT / "config", folder / "config")
    study = Study(folder)
    config = study.config
    del config["describe"]
    (folder / "config/config.yaml").write_text(yaml.safe_dump(config))
    study.write_rows(few_rows())
    study.change_method(experts={"bootstrap": 10})
    study.change_config(metrics={"bootstrap": 50})
    return study


def _merged(old: dict, new: dict) -> dict:
    """`old` with the keys of `new`, sections within sections too."""
    both = {
        key: _merged(old[key], value)
        if isinstance(old.get(key), dict) and isinstance(value, dict)
        else value
        for key, value in new.items()
    }
    return {**old, **both}
