"""envs/: what the jobs' environments hold, and the command that runs hhvad's code in them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import requires
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from study import ROOT

from hhvad.workflow import hhvad_in_environments

# Snakemake runs the jobs from an environment of its own; the light jobs run no model.
OF_THE_DRIVER = {"snakemake", "snakemake-executor-plugin-slurm"}
OF_MODELS = {"torch", "transformers", "tokenizers", "jinja2"}
LEFT_OUT = {"light": OF_THE_DRIVER | OF_MODELS, "gpu": OF_THE_DRIVER, "tune": OF_THE_DRIVER}
ENVIRONMENTS = sorted(LEFT_OUT)


def plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return {plain(line.split("==")[0]): line for line in lines if "==" in line}


def everything_behind(names: set[str]) -> set[str]:
    """The packages, and all that they need."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = plain(waiting.pop())
        if name not in found:
            found.add(name)
            needs = [Requirement(text) for text in requires(name) or []]
            waiting += [
                one.name for one in needs if not one.marker or one.marker.evaluate({"extra": ""})
            ]
    return found


def pip_lines(env: str) -> list[str]:
    parts = yaml.safe_load((ROOT / f"envs/{env}.yaml").read_text())["dependencies"]
    return next(part["pip"] for part in parts if isinstance(part, dict))


@pytest.mark.parametrize("env", ENVIRONMENTS)
def test_an_environment_holds_what_its_jobs_import_as_pinned(env: str):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    direct = {plain(Requirement(text).name) for text in project["dependencies"]} - LEFT_OUT[env]
    if env == "tune":
        direct |= {Requirement(text).name for text in project["optional-dependencies"]["tune"]}
    known = pins()
    assert pip_lines(env) == [
        known[name] for name in sorted(everything_behind(direct) & set(known))
    ]


def test_the_light_one_is_light():
    names = {plain(line.split("==")[0]) for line in pip_lines("light")}
    assert not names & {"torch", "transformers", "snakemake", "hhvad"}


@pytest.mark.parametrize("env", ENVIRONMENTS)
def test_pip_takes_the_lines_where_snakemake_copies_them(env: str, tmp_path: Path):
    """In .snakemake/conda, where no file of the project is near."""
    folder = tmp_path / ".snakemake/conda"
    folder.mkdir(parents=True)
    (folder / "requirements.txt").write_text("\n".join(pip_lines(env)))
    words = [sys.executable, "-m", "pip", "install", "--dry-run", "--no-deps", "--no-index"]
    done = subprocess.run(
        [*words, "--requirement", "requirements.txt"], cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_a_python_without_hhvad_runs_it(tmp_path: Path):
    bare = tmp_path / "bare"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", bare], check=True)
    path = f"{bare / 'bin'}{os.pathsep}{os.environ['PATH']}"
    for _ in range(2):  # the link is made once
        define = hhvad_in_environments(tmp_path / "it's a folder")
    done = subprocess.run(
        ["bash", "-c", f"{define} hhvad score-motion --help"],
        cwd=tmp_path, env={**os.environ, "PATH": path}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "score-motion" in done.stdout


def test_the_lock_has_the_pins_and_their_hashes():
    """requirements.lock is constraints.txt without torch, each file by its SHA-256: make lock."""
    text = (ROOT / "requirements.lock").read_text()
    entries = re.findall(r"^(\S+==\S+)(.*?)(?=^\S|\Z)", text, flags=re.MULTILINE | re.DOTALL)
    locked = {plain(pin.split("==")[0]): pin for pin, _ in entries}
    assert locked == {
        name: plain(line.split("==")[0]) + "==" + line.split("==")[1].split(";")[0]
        for name, line in pins().items()
        if name != "torch"
    }
    assert all(re.search(r"--hash=sha256:[0-9a-f]{64}\b", rest) for _, rest in entries)
