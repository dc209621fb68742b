"""hhvad from a wheel, outside the clone: a door for those who only did `pip install`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from study import ROOT, few_rows

from hhvad.files import write_tsv
from hhvad.sheet import COLUMNS

PARTS = (
    "pyproject.toml", "README.md", "LICENSE", "Snakefile", "hhvad", "snakemake_logger_plugin_hhvad",
    "rules", "workflow", "envs", "config", "profiles",
)  # fmt: skip


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    """A copy of what packages are made of: a build leaves files beside its source."""
    folder = tmp_path_factory.mktemp("source")
    for name in PARTS:
        if (ROOT / name).is_dir():
            ignore = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, folder / name, ignore=ignore)
        else:
            shutil.copy(ROOT / name, folder / name)
    return folder


def pip(*words: str | Path) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", *words]
    done = subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert done.returncode == 0, done.stdout


@pytest.fixture(scope="module")
def installed(source: Path) -> Path:
    """A folder with hhvad as a wheel installs it."""
    pip("wheel", "--no-index", "--no-deps", "--no-build-isolation", "--wheel-dir", source, source)
    (wheel,) = source.glob("hhvad-*.whl")
    pip("install", "--no-index", "--no-deps", "--target", source / "target", wheel)
    return source / "target"


def run(folder: Path, installed: Path, *command: str) -> subprocess.CompletedProcess[str]:
    own = {"PYTHONPATH": str(installed), "HHVAD_RUNTIME_DIR": str(folder / "run")}
    return subprocess.run(
        [sys.executable, "-m", "hhvad", *command],
        cwd=folder,
        env={**os.environ, **own},
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def test_the_workflow_is_where_the_wheel_put_it(tmp_path, installed: Path):
    done = run(tmp_path, installed, "workflow-path")
    assert done.stdout == f"{installed}/share/hhvad/Snakefile\n"


def test_init_and_run_outside_the_clone(tmp_path, installed: Path):
    for row in few_rows():
        if row["split"] == "calibration":
            path = tmp_path / "videos" / row["label"] / f"{row['video']}.mp4"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"not opened in a dry run")
    (tmp_path / "videos/today.mp4").write_bytes(b"nor this")
    done = run(tmp_path, installed, "init", "--videos", "videos", "--model", "demo")
    assert done.returncode == 0, done.stdout
    done = run(tmp_path, installed, "run", "--", "--dry-run")
    assert done.returncode == 0, done.stdout
    assert "score_headhunt" in done.stdout
    # Nothing from the clone is read; the environment that runs Snakemake may lie in it.
    assert str(ROOT) not in done.stdout.replace(sys.prefix, "")

    # The method that needs no model runs to its end on two videos.
    motion = {"study": "motion", "videos": "motion.tsv", "methods": {"motion": {"kind": "motion"}}}
    rows = [row for row in few_rows() if row["label"] == "normal" and row["split"] != "validation"]
    write_tsv(tmp_path / "motion.tsv", COLUMNS, [[row[key] for key in COLUMNS] for row in rows[1:]])
    (tmp_path / "motion.yaml").write_text(yaml.safe_dump(motion))
    done = run(tmp_path, installed, "run", "--config", "motion.yaml")
    assert done.returncode == 0, done.stdout
    assert (tmp_path / "results/motion/viewer/index.html").is_file()
    assert "Events, videos and curves: results/motion/viewer/index.html" in done.stdout
    # Quiet: no rule, one line at the end of the jobs.
    assert "rule probe_video" not in done.stdout
    assert "1 of 1 videos judged, in " in done.stdout
    assert len(done.stdout.splitlines()) < 40, done.stdout
    assert list((tmp_path / ".snakemake/log").glob("*.snakemake.log"))


def test_an_editable_install_puts_the_plugin_on_the_path(source: Path, tmp_path):
    # Snakemake looks for plugins among the top-level modules of the path alone.
    pip(
        "install", "--no-index", "--no-deps", "--no-build-isolation", "--target", tmp_path,
        "--editable", source,
    )  # fmt: skip
    (path,) = tmp_path.glob("*.pth")
    assert Path(path.read_text().strip()).samefile(source)
