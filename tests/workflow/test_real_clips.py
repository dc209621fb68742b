"""The two real clips through the whole workflow, with the embedded model."""

from __future__ import annotations

import json
from pathlib import Path

from study import Study

from hhvad.files import read_tsv


def test_real_clips(finished: Study, shared: Path):
    clips = shared / "clips"
    rows = finished.rows
    rows.append(
        {
            "video": "Robbery102_x264", "path": str(clips / "Robbery102_x264.mp4"),
            "split": "test", "label": "anomaly", "category": "Robbery", "events": "1080-1560",
        }
    )  # fmt: skip
    rows.append(
        {
            "video": "car_accident", "path": str(clips / "car_accident.mp4"),
            "split": "calibration", "label": "anomaly", "category": "accident", "events": "",
        }
    )  # fmt: skip
    finished.write_rows(rows)
    done = finished.snakemake()
    assert done.returncode == 0, done.stdout
    results = finished.folder / "results/demo"
    scores = read_tsv(results / "localization/headhunt/Robbery102_x264.tsv")
    assert len(scores) == 39
    assert [scores[-1]["start_frame"], scores[-1]["end_frame"]] == ["1824", "1827"]
    assert all(0 <= float(row["score"]) <= 1 for row in scores)
    metrics = json.loads((results / "metrics/headhunt.json").read_text())
    assert "Robbery102_x264" in json.dumps(metrics)
    assert (results / "figures/headhunt/videos/Robbery102_x264.png").stat().st_size > 10_000
    assert finished.planned() == {}
