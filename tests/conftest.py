"""What the tests share: studies to run, and the folder of real data, where it is there."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock
from study import ROOT, Study, few_rows, make_study


@pytest.fixture(scope="session")
def shared() -> Path:
    """../shared/data beside the checkout: real clips, annotations and parity vectors."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("../shared/data is not here: real clips and annotations cannot be tested")
    return folder


@pytest.fixture(autouse=os.environ.get("HHVAD_TEST_DEVICE") is not None)
def _on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """HHVAD_TEST_DEVICE=cuda:0 pytest tests/unit/test_capture.py: models that ask for the CPU."""
    from hhvad.mllm import engine

    given, wanted = engine._device, os.environ["HHVAD_TEST_DEVICE"]
    monkeypatch.setattr(engine, "_device", lambda name: given(wanted if name == "cpu" else name))


@pytest.fixture
def new_study(tmp_path: Path) -> Study:
    return make_study(tmp_path / "study")


def _once(
    factory: pytest.TempPathFactory, name: str, make: Callable[[Path], Study], *targets: str
) -> Study:
    """A study that has run; one for all processes of pytest-xdist, whose folders are neighbours."""
    folder = factory.getbasetemp()
    folder = (folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder) / name
    with FileLock(f"{folder}.lock"):
        if (folder / "done").exists():
            return Study(folder / "study")
        study = make(folder / "study")
        done = study.snakemake(*targets)
        assert done.returncode == 0, done.stdout
        (folder / "done").touch()
    return study


@pytest.fixture(scope="session")
def _drawn(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """A study whose videos are drawn, and no more: to copy, since drawing is half of a run."""
    return _once(tmp_path_factory, "drawn", make_study, *(row["path"] for row in few_rows()))


@pytest.fixture
def drawn(_drawn: Study, tmp_path: Path) -> Study:
    """A new study that need not draw its videos."""
    return _drawn.copy(tmp_path / "study")


@pytest.fixture(scope="session")
def _finished(_drawn: Study, tmp_path_factory: pytest.TempPathFactory) -> Study:
    return _once(tmp_path_factory, "finished", _drawn.copy)


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
