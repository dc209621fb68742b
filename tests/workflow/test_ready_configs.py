"""The ready configs of UCF-Crime and XD-Violence plan the whole method on stand-ins.

The stand-ins have the names of the real videos and no content: a dry run reads none.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
import yaml
from study import ROOT, Study

from hhvad.datasets.annotation import read_frame_counts
from hhvad.study import Study as Study_

ANNOTATIONS = {"ucf-crime": "Temporal_Anomaly_Annotation.txt", "xd-violence": "annotations.txt"}
TEST_VIDEOS = {"ucf-crime": 290, "xd-violence": 800}
TRAINING = {
    "ucf-crime": ("Normal_Videos{:03}_x264", "Arson{:03}_x264"),
    "xd-violence": ("v=train{}__#1_label_A", "v=train{}__#1_label_B1-G-0"),
}


@pytest.mark.parametrize("dataset", TEST_VIDEOS)
def test_dry_run(dataset: str, shared: Path, tmp_path: Path):
    shutil.copytree(ROOT / "config", tmp_path / "config")
    source = shared / "annotations" / dataset
    names = list(read_frame_counts(source / "test_frame_counts.tsv"))
    names += [name.format(i) for name in TRAINING[dataset] for i in range(100)]
    (tmp_path / "videos").mkdir()
    for name in names:
        (tmp_path / "videos" / f"{name}.mp4").touch()
    study = Study(tmp_path)
    made = study.run(
        *("hhvad", "make-sheet", dataset, "--videos", "videos"),
        *("--annotations", str(source / ANNOTATIONS[dataset])),
        *("--frame-counts", str(source / "test_frame_counts.tsv")),
        *("--calibration-fraction", "0.05", "--out", f"config/{dataset}.tsv"),
    )
    assert made.returncode == 0, made.stdout
    planned = study.snakemake(
        "--dry-run", "--quiet", "rules", "--configfile", f"config/{dataset}.yaml"
    )
    assert planned.returncode == 0, planned.stdout
    jobs = {rule: int(n) for rule, n in re.findall(r"^(\w+) +(\d+)$", planned.stdout, re.MULTILINE)}
    prompts = yaml.safe_load((ROOT / "config/prompts.yaml").read_text())["prompts"]
    test, calibration = TEST_VIDEOS[dataset], 10
    assert jobs["probe_video"] == test + calibration
    assert jobs["capture_heads"] == test + calibration * len(prompts)
    assert jobs["localize_events"] == jobs["score_headhunt"] == jobs["plot_video"] == test
    assert jobs["score_saliency"] == len(prompts)
    assert jobs["identify_heads"] == jobs["report_metrics"] == 1


@pytest.mark.parametrize("dataset", TEST_VIDEOS)
def test_the_papers_values_hold(dataset: str, tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ROOT / "config", "config")
    shutil.copy("config/videos.tsv", f"config/{dataset}.tsv")
    study = Study_.read(f"config/{dataset}.yaml")
    assert study.name == dataset
    assert study.config.sampling.frames_per_segment == 16
    assert study.size("internvl3-8b") == (448, 448)
    assert study.config.compute.device == "auto"


def test_the_catalogs_study_is_of_few_videos(tmp_path: Path):
    shutil.copytree(ROOT / ".test", tmp_path / "study", symlinks=False)
    planned = Study(tmp_path / "study").planned()
    assert sum(count for (rule, _), count in planned.items() if rule == "make_demo_video") == 9
