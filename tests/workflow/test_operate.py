"""Day to day: new videos on top of finished ones; a frozen detector and no calibration videos."""

from __future__ import annotations

import json
import shutil

import pytest
from study import ROOT, Study, make_study

from hhvad.artifacts import hdf5 as artifacts


def rules(jobs) -> set[str]:
    return {rule for rule, _ in jobs}


def test_added_videos_are_all_that_is_computed(finished: Study):
    metrics = finished.folder / "results/demo/metrics/headhunt.json"
    before = json.loads(metrics.read_text())
    source = finished.folder / "resources/demo" / f"{finished.rows[-1]['video']}.mp4"
    incoming = finished.folder / "incoming"
    incoming.mkdir()
    for name in ("gate 1.mp4", "gate-2.mp4"):
        shutil.copy(source, incoming / name)
    done = finished.run("hhvad", "add-videos", "incoming", "--config", "config/config.yaml")
    assert done.returncode == 0, done.stdout
    new = [row["video"] for row in finished.rows[-2:]]
    jobs = finished.planned()
    assert {words.split("video=")[1] for _, words in jobs if "video=" in words} == set(new)
    assert rules(jobs) == {
        "probe_video", "sample_segments", "capture_heads", "score_headhunt", "localize_events",
        "sample_thumbnails", "plot_video", "all",
        # The report names the videos that it leaves out.
        "check_annotations", "report_metrics", "plot_curves", "build_viewer",
    }  # fmt: skip
    done = finished.snakemake()
    assert done.returncode == 0, done.stdout
    after = json.loads(metrics.read_text())
    assert before.pop("left_out") == {}
    assert list(after.pop("left_out")) == ["unlabelled"]
    assert after == before
    known = (finished.folder / f"results/demo/scores/headhunt/{source.stem}.tsv").read_text()
    for name in new:
        scores = (finished.folder / f"results/demo/scores/headhunt/{name}.tsv").read_text()
        assert scores.replace(name, source.stem) == known
        assert (finished.folder / f"results/demo/events/headhunt/{name}.json").is_file()
    assert finished.planned() == {}


@pytest.fixture
def operator(finished: Study, tmp_path) -> Study:
    """A study of test videos alone, with the detector that the finished study exported."""
    done = finished.run(
        "hhvad",
        "export-detector",
        "--detector",
        "results/demo/detector/headhunt.h5",
        "--out",
        "gate.h5",
    )
    assert done.returncode == 0, done.stdout
    study = make_study(tmp_path / "operator")
    study.write_rows([row for row in study.rows if row["split"] == "test"])
    shutil.copytree(finished.folder / "resources", study.folder / "resources")
    shutil.copy(finished.folder / "gate.h5", study.folder / "gate.h5")
    study.change_method(detector="gate.h5")
    return study


@pytest.mark.parametrize("heads", ["all", "experts"])
def test_a_frozen_detector_needs_no_calibration_videos(finished, operator: Study, heads: str):
    operator.change_method(heads=heads)
    done = operator.snakemake()
    assert done.returncode == 0, done.stdout
    for kind in ("scores", "events", "localization"):
        wanted = {
            p.name: p.read_text() for p in (finished.folder / "results/demo" / kind).rglob("*.tsv")
        }
        found = {
            p.name: p.read_text() for p in (operator.folder / "results/demo" / kind).rglob("*.tsv")
        }
        assert len(found) == 3
        assert found.items() <= wanted.items()
    assert not list((operator.folder / "results/demo/heads").glob("*/video"))
    for path in (operator.folder / "results/demo/heads").rglob("*.h5"):
        whole = artifacts.read(finished.folder / path.relative_to(operator.folder), "features")
        found = artifacts.read(path, "features")
        count, layers, each, width = whole["features"].shape
        wanted = (count, layers, each, width) if heads == "all" else (count, 5, width)
        assert found["features"].shape == wanted
    assert operator.planned() == {}


@pytest.mark.parametrize(
    ("kind", "line"),
    [
        ("absent", "gate.h5"),
        ("table", "gate.h5"),
        ("truncated", "gate.h5"),
        ("features", "gate.h5"),
    ],
)
def test_a_bad_detector_is_one_line(finished, operator: Study, kind: str, line: str):
    gate = operator.folder / "gate.h5"
    if kind == "absent":
        gate.unlink()
    elif kind == "table":
        shutil.copy(finished.folder / "results/demo/experts/headhunt.tsv", gate)
    elif kind == "truncated":
        gate.write_bytes(gate.read_bytes()[:3000])
    else:
        shutil.copy(next((finished.folder / "results/demo/heads").rglob("*.h5")), gate)
    done = operator.snakemake()
    assert done.returncode != 0
    lines = [text for text in done.stdout.splitlines() if line in text]
    assert len(lines) == 1, done.stdout
    assert "Traceback" not in done.stdout
    assert not (operator.folder / "results").exists()


def test_a_detector_of_another_sampling_or_model_is_refused(operator: Study):
    operator.change_config(sampling={"frames_per_segment": 4, "size": [28, 28]})
    done = operator.snakemake()
    assert done.returncode != 0
    assert "{frames_per_segment: 8, size: [56, 56]}, the config has 4, [28, 28];" in done.stdout
    assert "Traceback" not in done.stdout


def test_the_installed_slurm_profile_is_the_shipped_one(tmp_path, new_study: Study):
    home = tmp_path / "home"
    done = new_study.run("env", f"XDG_CONFIG_HOME={home}", "make", "-C", str(ROOT), "slurm-profile")
    assert done.returncode == 0, done.stdout
    installed = home / "snakemake/slurm/config.yaml"
    assert installed.read_text() == (ROOT / "profiles/slurm/config.yaml").read_text()
    installed.write_text("executor: dryrun\n")
    done = new_study.run("env", f"XDG_CONFIG_HOME={home}", "make", "-C", str(ROOT), "slurm-profile")
    assert "kept" in done.stdout
    assert installed.read_text() == "executor: dryrun\n"
    done = new_study.run(
        "env", f"XDG_CONFIG_HOME={home}", "snakemake", "--snakefile", str(ROOT / "Snakefile"),
        "--profile", "slurm", "--cores", "1",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert "This was a dry-run" in done.stdout
