"""hhvad init, hhvad run and hhvad workflow-path: what they write, call and refuse."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from hhvad import workflow_files
from hhvad.cli import main, start
from hhvad.errors import ConfigError
from hhvad.study import Study

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def videos(tmp_path, monkeypatch):
    """A working directory with a folder of files that have the names of videos."""
    monkeypatch.chdir(tmp_path)
    for name in ("normal/a.mp4", "normal/b.mp4", "anomaly/c.mp4", "anomaly/d.mp4", "today/e.mp4"):
        path = tmp_path / "my clips" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return tmp_path / "my clips"


def test_init_writes_a_study_that_is_fine(videos, capsys):
    assert main(["init", "--videos", str(videos), "--model", "demo"]) == 0
    assert "4 videos to calibrate, 1 to judge" in capsys.readouterr().out
    study = Study.read("config/my-clips.yaml")
    assert study.name == "my-clips"
    assert [len(study.split(name)) for name in ("calibration", "test")] == [4, 1]
    assert yaml.safe_load(Path("config/my-clips-prompts.yaml").read_text()) == yaml.safe_load(
        (ROOT / "config/prompts.yaml").read_text()
    )
    assert workflow_files.config_here() == Path("config/my-clips.yaml")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "--videos is required"),
        (["--videos", "none"], "none"),
        (["--videos", "empty", "--model", "demo"], "empty: no video file in it"),
        (["--videos", "my clips"], "--model is required"),
        (["--videos", "my clips", "--model", "no/such/folder"], "no/such/folder"),
        (["--videos", "my clips", "--model", "demo", "--study", "../x"], "--study is '../x'"),
        (["--videos", "my clips", "--model", "demo", "--study", "old"], "is there already"),
    ],
)
def test_init_refuses_in_one_line_and_writes_nothing(videos, monkeypatch, capsys, flags, message):
    monkeypatch.setattr("sys.stdin", SimpleNamespace(isatty=lambda: False))
    Path("empty").mkdir()
    Path("config").mkdir()
    Path("config/old.tsv").write_text("old\n")
    assert main(["init", *flags]) == 2
    error = capsys.readouterr().err
    assert error.startswith("hhvad: error: ")
    assert message in error
    assert error.count("\n") == 1
    assert [path.name for path in Path("config").iterdir()] == ["old.tsv"]
    assert Path("config/old.tsv").read_text() == "old\n"


def test_init_asks_at_a_terminal(videos, monkeypatch):
    answers = {"Folder with your videos: ": "my clips"}
    answers["Checkpoint folder or hub id of the model: "] = " demo "
    monkeypatch.setattr("sys.stdin", SimpleNamespace(isatty=lambda: True))
    monkeypatch.setattr("builtins.input", lambda question: answers.pop(question))
    assert main(["init", "--study", "asked"]) == 0
    assert Path("config/asked.yaml").is_file()
    assert answers == {}


@pytest.fixture
def calls(monkeypatch):
    """The commands that are run, none of which is."""
    commands = []

    def start(command, **_):
        commands.append(command)
        return SimpleNamespace(wait=lambda timeout: int("fail" in command))

    monkeypatch.setattr(subprocess, "Popen", start)
    monkeypatch.setattr(subprocess, "run", lambda command, **_: commands.append(command))
    return commands


def test_run_calls_snakemake_and_shows_what_was_found(calls, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["run"]) == 0
    snakemake, shown = calls
    assert snakemake[:3] == [sys.executable, "-m", "snakemake"]
    assert snakemake[snakemake.index("--snakefile") + 1] == str(ROOT / "Snakefile")
    assert snakemake[snakemake.index("--configfile") + 1] == "config/config.yaml"
    assert snakemake[-2:] == ["--cores", "all"]
    assert shown[-3:] == ["show-results", "--config", "config/config.yaml"]
    # The demo came along.
    Study.read("config/config.yaml")


@pytest.mark.parametrize("options", [["--cores", "3"], ["--cores=3"], ["-c", "3"], ["--profile=x"]])
def test_run_leaves_cores_to_those_who_say_them(calls, tmp_path, monkeypatch, options):
    monkeypatch.chdir(tmp_path)
    assert main(["run", "--", *options, "--dry-run"]) == 0
    (snakemake,) = calls
    assert "all" not in snakemake
    assert snakemake[-len(options) - 1 :] == [*options, "--dry-run"]


def test_run_says_that_snakemake_failed(calls, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["run", "--", "fail"]) == 2
    assert "Snakemake ended with status 1" in capsys.readouterr().err
    assert len(calls) == 1


def test_run_names_a_config_that_is_not_there(calls, capsys):
    assert main(["run", "--config", "none.yaml"]) == 2
    assert capsys.readouterr().err == "hhvad: error: none.yaml: there is no such file\n"
    assert calls == []


def test_options_of_snakemake_stand_behind_two_dashes(calls, capsys):
    with pytest.raises(SystemExit) as caught:
        main(["run", "--dry-run"])
    assert caught.value.code == 2
    assert "--dry-run" in capsys.readouterr().err
    assert calls == []


def test_of_several_studies_one_must_be_named(tmp_path, monkeypatch, calls, capsys):
    monkeypatch.chdir(tmp_path)
    Path("config").mkdir()
    for name in ("a", "b"):
        Path(f"config/{name}.yaml").touch()
        Path(f"config/{name}.tsv").touch()
    assert main(["run"]) == 2
    assert "config/a.yaml, config/b.yaml; name one by --config" in capsys.readouterr().err


def test_an_installation_without_the_workflow_says_so(monkeypatch, tmp_path):
    monkeypatch.setattr(workflow_files, "__file__", str(tmp_path / "hhvad/workflow_files.py"))
    monkeypatch.setattr(workflow_files, "files", lambda name: None)
    with pytest.raises(ConfigError, match="install hhvad again"):
        workflow_files.workflow_folder()


def test_an_interrupt_waits_for_snakemake():
    said = iter([KeyboardInterrupt, subprocess.TimeoutExpired("snakemake", 5), KeyboardInterrupt])
    looks = []

    def wait(timeout):
        for one in said:
            raise one
        return 130

    assert start._wait(SimpleNamespace(wait=wait), lambda: looks.append(1)) == 130
    assert looks == [1]
