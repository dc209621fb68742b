"""LAVAD on the real clips, with random weights of the real classes, through the whole workflow.

The LLMs are taught one answer, since a random one writes no number, and then the job fails by name:
that is a test, too.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from study import ROOT, Study

from hhvad.artifacts import hdf5, scores, texts
from hhvad.files import read_json, write_tsv
from hhvad.sheet import COLUMNS

sys.path.insert(0, str(ROOT / "tests/unit"))
CLIPS = {"Robbery102_x264": ("anomaly", "1080-1560"), "car_accident": ("anomaly", "")}
WINDOWS = "windows16-10s-10-30fps"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, object]]:
    import tiny_checkpoints as tiny

    folder = tmp_path_factory.mktemp("models")
    made = {
        "mllm": (tiny.teach(tiny.internvl(folder / "mllm", text="qwen3"), "[0.3]"), 32),
        "siglip": (tiny.encoder(folder / "siglip", "siglip"), 16),
        "opt": (tiny.blip2(folder / "opt", "opt"), 16),
        "t5": (tiny.blip2(folder / "t5", "t5"), 16),
        "llama": (tiny.teach(tiny.llama(folder / "llama"), "[0.7]"), None),
        "random": (tiny.qwen3(folder / "random"), None),
        "clip": (tiny.encoder(folder / "clip", "clip"), 16),
    }
    return {
        name: {"path": str(path), "dtype": "float32"} | ({"size": [side, side]} if side else {})
        for name, (path, side) in made.items()
    }


def study_of(folder: Path, clips: Path, models: dict, methods: dict) -> Study:
    (folder / "config").mkdir(parents=True)
    shutil.copy(ROOT / "config/prompts-lavad.yaml", folder / "config")
    rows = [
        [name, str(clips / f"{name}.mp4"), "test", label if events else "", "", events]
        for name, (label, events) in CLIPS.items()
    ]
    write_tsv(folder / "config/videos.tsv", COLUMNS, rows)
    config = {
        "study": "demo",
        "videos": "config/videos.tsv",
        "models": models,
        "methods": methods,
        "metrics": {"bootstrap": 10},
        "compute": {"device": "cpu", "threads": 1},
    }
    (folder / "config/config.yaml").write_text(yaml.safe_dump(config))
    return Study(folder)


def test_the_presets_run_through(shared: Path, models: dict, tmp_path: Path):
    native = {"kind": "lavad", "captioner": "mllm", "llm": "mllm", "encoder": "siglip"}
    paper = {"kind": "lavad", "preset": "paper", "captioner": ["opt", "t5"], "llm": "llama"}
    paper |= {"encoder": "clip", "fps": 30, "rating": "rate-ucf", "answers": {"max_tokens": 16}}
    methods = {"native": native, "paper": paper}
    study = study_of(tmp_path / "s", shared / "clips", models, methods)
    done = study.snakemake("--keep-going", timeout=1800)
    assert done.returncode == 0, done.stdout
    results = study.folder / "results/demo"
    for method, number in (("native", 0.3), ("paper", 0.7)):
        found = scores.read(results / f"scores/{method}/Robbery102_x264.tsv")
        assert len(found.scores) == 115
        np.testing.assert_allclose(found.scores, number, atol=1e-6)
        assert read_json(results / f"ratings/{method}/Robbery102_x264.json")["unreadable"] == 0
        assert (results / f"scores/{method}/car_accident.tsv").is_file()
    asked = texts.read(results / "requests/paper/rating/Robbery102_x264.jsonl").rows
    assert len(asked) == 115  # answers are sampled: each window is asked
    vectors = hdf5.read(results / f"vectors/clip/{WINDOWS}/Robbery102_x264.h5", "vectors")
    cleaned = texts.read(results / "cleaned/paper/Robbery102_x264.jsonl", "cleaned").rows
    wanted = {frame for row in cleaned for frame in row["frames"]}
    assert wanted == set(vectors["indices"].tolist())
    assert len(wanted) > 1000  # ten a window, on no grid
    captions = [texts.read(results / f"captions/{c}/grid16/caption/car_accident.jsonl").rows
                for c in ("opt", "t5")]  # fmt: skip
    assert [len(rows) for rows in captions] == [len(captions[0])] * 2
    assert study.planned() == {}
    study.change_method("paper", window={"vector": "mean"})
    assert {rule for rule, _ in study.planned()} & {"embed_windows", "clean_captions"} == set()


def test_an_llm_that_writes_no_number_fails_by_name(shared: Path, models: dict, tmp_path: Path):
    method = {"kind": "lavad", "captioner": "mllm", "llm": "random", "encoder": "siglip"}
    method["answers"] = {"max_tokens": 8}
    study = study_of(tmp_path / "s", shared / "clips", models, {"lavad": method})
    done = study.snakemake("results/demo/scores/lavad/Robbery102_x264.tsv", timeout=1800)
    assert done.returncode != 0
    assert "Robbery102_x264: none of the 115 answers of the LLM holds a number" in done.stdout
    assert not (study.folder / "results/demo/ratings/lavad/Robbery102_x264.tsv").exists()
