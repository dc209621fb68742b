"""What methods cost: sums by hand over a few jobs' files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from probes import write_probe

from hhvad import sheet
from hhvad.artifacts import hdf5, texts
from hhvad.cli import main
from hhvad.evaluation import costs
from hhvad.files import read_json, read_tsv, write_text, write_tsv

METHODS = {
    "moves": {
        "kind": "motion",
        "needs": {"labels": "", "training": "a scale", "wordings": ""},
        "jobs": ["probe_video", "measure_motion", "score_motion/moves", "calibrate_locator/moves"],
    },
    "asks": {
        "kind": "other",
        "needs": {"labels": "of all_videos", "training": "", "wordings": "2 questions"},
        "jobs": [
            *("probe_video", "capture_heads/m/segments/p", "complete_texts/l/asks/rating"),
            *("answer_questions/m/asks", "embed_texts/e/phrases/asks"),
        ],
    },
}
JOBS = {
    "probe_video/t1": (1, 0.5),
    "probe_video/t2": (2, 0.5),
    "probe_video/c": (4, 0.5),
    "probe_video/gone": (1000, 1000),  # no longer on the sheet
    "measure_motion/t1": (8, 0.5),
    "measure_motion/c": (16, 0.5),
    "score_motion/moves/t1": (32, 0.5),
    "score_motion/another/t1": (1000, 1000),
    "calibrate_locator/moves": (64, "NA"),
    "capture_heads/m/segments/p/t1": (1, 0),
    "capture_heads/m/segments/p/c": (2, 0),
    "capture_heads/m/segments/other/t1": (1000, 1000),
    "complete_texts/l/asks/rating/t1": (4, 0),
    "answer_questions/m/asks/t1": (8, 0),
    "embed_texts/e/phrases/asks": (16, 0),
}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two test videos of 10 s and a calibration video; the times and answers of jobs on them."""
    monkeypatch.chdir(tmp_path)
    rows = [("t1", "t1.mp4", "test"), ("t2", "t2.mp4", "test"), ("c", "c.mp4", "calibration")]
    write_tsv("videos.tsv", sheet.COLUMNS, [(*row, "normal", "", "") for row in rows])
    for name, *_ in rows:
        write_probe(tmp_path / f"results/probe/{name}.json", frames=250, fps=25)
    for job, (seconds, cpu) in JOBS.items():
        text = f"s\th:m:s\tcpu_time\n{seconds}\t0:00:01\t{cpu}\n"
        write_text(tmp_path / f"times/{job}.tsv", text)
    segments = np.zeros((3, 2), np.int64)
    features = {"features": np.zeros((3, 1, 1, 2), np.float32), "segments": segments}
    for name in ("t1", "c"):
        hdf5.write(f"results/heads/m/segments/p/{name}.h5", "features", features, {})
    answers = [{"id": str(n), "answer": "0.1", "tokens": 5 + n, "cut": False} for n in range(2)]
    texts.write("results/answers/l/asks/rating/t1.jsonl", "answers", answers, {})
    logprobs = {"logprobs": np.zeros((3, 2, 2)), "segments": segments}
    for name in ("t1", "t2"):
        hdf5.write(f"results/logprobs/m/asks/{name}.h5", "logprobs", logprobs, {})
    vectors = {"vectors": np.ones((7, 1), np.float32)}
    hdf5.write("results/vectors/e/phrases/asks.h5", "vectors", vectors, {})
    return tmp_path


def run(methods: object = METHODS) -> int:
    return main(
        [
            *("compare-costs", "--methods", json.dumps(methods), "--sheet", "videos.tsv"),
            *("--results", "results", "--benchmarks", "times", "--out", "out.json"),
            *("--table", "out.tsv", "--markdown", "out.md", "--latex", "out.tex"),
        ]
    )


def test_sums_by_hand(place: Path):
    assert run() == 0
    moves, asks = read_json("out.json")["methods"]
    assert moves["test_seconds"] == 1 + 2 + 8 + 32
    assert moves["setup_seconds"] == 4 + 16 + 64
    assert moves["video_seconds"] == 20
    assert moves["real_time"] == 43 / 20
    assert moves["cpu_seconds"] == 6 * 0.5
    assert (moves["model_seconds"], moves["model_calls"], moves["tokens"]) == (0, 0, 0)
    assert asks["test_seconds"] == 3 + 1 + 4 + 8
    assert asks["setup_seconds"] == 4 + 2 + 16
    assert asks["model_seconds"] == 1 + 2 + 4 + 8 + 16
    assert asks["model_calls"] == 2 * 3 + 2 + 2 * 3 * 2 + 7
    assert asks["tokens"] == 5 + 6
    assert asks["unmeasured"] == 1  # the answers about t2, whose job left no time


def test_the_tables_say_the_same(place: Path):
    run()
    rows = read_tsv("out.tsv", costs.COLUMNS)
    assert [row["model_calls"] for row in rows] == ["0", "27"]
    assert (
        "| moves | none | a scale | none | 84 | 43 | 2.150 | 0 | 0 | 0 |"
        in Path("out.md").read_text()
    )
    assert r"asks & of all\_videos & none & 2 questions & 22 & 16" in Path("out.tex").read_text()


def test_a_damaged_table_of_times_is_named(place: Path, capsys: pytest.CaptureFixture[str]):
    write_text(place / "times/measure_motion/t1.tsv", "s\tcpu_time\n")
    assert run() == 2
    assert "times/measure_motion/t1.tsv: not a table of times" in capsys.readouterr().err


def test_a_video_that_failed_has_no_length(place: Path):
    (place / "results/probe/t2.json").unlink()
    run()
    assert read_json("out.json")["methods"][0]["video_seconds"] == 10


@pytest.mark.parametrize("given", [[], {"a": {}}, {"a": 3}])
def test_what_are_no_methods_is_refused(place: Path, given, capsys: pytest.CaptureFixture[str]):
    assert run(given) == 2
    assert "--methods: not the JSON" in capsys.readouterr().err
