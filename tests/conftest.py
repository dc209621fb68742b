"""What the tests share: studies to run, and the folder of real data, where it is there."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock
from study import ROOT, Study, make_study


@pytest.fixture(scope="session")
def shared() -> Path:
    """../shared/data beside the checkout: real clips, annotations and parity vectors."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("../shared/data is not here: real clips and annotations cannot be tested")
    return folder


@pytest.fixture
def new_study(tmp_path: Path) -> Study:
    return make_study(tmp_path / "study")


@pytest.fixture(scope="session")
def _finished(tmp_path_factory: pytest.TempPathFactory) -> Study:
    # One for all processes of pytest-xdist, whose folders stand beside each other.
    folder = tmp_path_factory.getbasetemp()
    folder = (folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder) / "finished"
    with FileLock(f"{folder}.lock"):
        if (folder / "done").exists():
            return Study(folder / "study")
        study = make_study(folder / "study")
        done = study.snakemake()
        assert done.returncode == 0, done.stdout
        (folder / "done").touch()
    return study


@pytest.fixture
def finished(_finished: Study, tmp_path: Path) -> Study:
    """A copy of a study that has run to its end."""
    return _finished.copy(tmp_path / "finished")


@pytest.fixture
def edit(finished: Study) -> Callable[[str, dict[str, str]], None]:
    """Change one row of the finished study's sheet."""

    def change(video: str, values: dict[str, str]) -> None:
        rows = [{**row, **values} if row["video"] == video else row for row in finished.rows]
        finished.write_rows(rows)

    return change
