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

from hhvad import config as settings
from hhvad.datasets.datasets import read_frame_counts

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
    assert jobs["localize_events"] == jobs["score_video"] == jobs["plot_video"] == test
    assert jobs["score_saliency"] == len(prompts)
    assert jobs["identify_heads"] == jobs["report_metrics"] == 1


@pytest.mark.parametrize("dataset", TEST_VIDEOS)
def test_nothing_of_the_demo_remains(dataset: str):
    """A --configfile is laid over config.yaml: what the demo sets must be set again."""
    demo, ready = (
        yaml.safe_load((ROOT / "config" / f"{name}.yaml").read_text())
        for name in ("config", dataset)
    )
    schema = settings.read_yaml(ROOT / "workflow/schemas/config.schema.yaml")
    settings.validate(ready, schema, dataset)

    def unset(ours: dict, theirs: dict, path: str = "") -> list[str]:
        return [
            name
            for key, value in ours.items()
            for name in (
                unset(value, theirs.get(key, {}), f"{path}{key}.")
                if isinstance(value, dict)
                else [f"{path}{key}"] * (key not in theirs)
            )
        ]

    assert unset(demo, ready) == []
