"""HIVAU-70k's questions through the Snakefile, on drawn videos with annotations of its form."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from study import Study

from hhvad.artifacts import texts
from hhvad.files import read_json, read_tsv

SECTION = {
    "instructions": "config/instructions.jsonl",
    "annotations": ["config/raw.json"],
    "model": "demo",
    "frames": 8,
    "max_tokens": 12,
}
AFTER_ANSWERS = {"score_texts", "all"}


def write_hivau(study: Study, wording: str = "what happens here?") -> str:
    """Questions about one test video; the name of the video."""
    probes = sorted((study.folder / "results/demo/probe").glob("test-*.json"))
    video = probes[-1].stem
    frames, fps = (read_json(probes[-1])[key] for key in ("frames", "fps"))
    half = frames / fps / 2
    raw = {
        video: {
            "n_frames": frames,
            "fps": fps,
            "label": ["Fighting"],
            "events": [[1.0, half]],
            "clips": [[[1.0, 2.0]]],
        }
    }
    (study.folder / "config/raw.json").write_text(json.dumps(raw))
    rows = [
        ("video", "judgement", f"{video}.mp4", "Is it strange?", "Yes, an anomaly exists."),
        ("event", "description", f"{video}_E0.mp4", wording, "Two people fight."),
        ("clip", "caption", f"{video}_E0C0.mp4", wording, "Two people fight near a pole."),
        ("video", "judgement", "elsewhere.mp4", "Is it strange?", "No."),
    ]
    names = ("type", "task", "video", "prompt", "anwser")
    lines = [
        json.dumps({"id": n, **dict(zip(names, row, strict=True))}) for n, row in enumerate(rows)
    ]
    (study.folder / "config/instructions.jsonl").write_text("\n".join(lines) + "\n")
    return video


def rules(study: Study) -> set[str]:
    return {rule for rule, _ in study.planned()}


@pytest.fixture(scope="module")
def _asked(_finished: Study, tmp_path_factory: pytest.TempPathFactory) -> Study:
    study = _finished.copy(tmp_path_factory.mktemp("hivau") / "study")
    write_hivau(study)
    study.change_config(hivau=SECTION)
    assert rules(study) == {"list_hivau", "answer_hivau"} | AFTER_ANSWERS
    done = study.snakemake()
    assert done.returncode == 0, done.stdout
    return study


@pytest.fixture
def asked(_asked: Study, tmp_path: Path) -> Study:
    return _asked.copy(tmp_path / "asked")


def test_answers_are_compared_with_references(asked: Study):
    assert rules(asked) == set()
    folder = asked.folder / "results/demo/hivau"
    rows = read_tsv(folder / "demo.tsv")
    assert [(row["level"], row["task"], row["texts"]) for row in rows] == [
        ("clip", "caption", "1"),
        ("event", "description", "1"),
        ("video", "judgement", "1"),
    ]
    files = [texts.read(path, "hivau") for path in sorted((folder / "demo").glob("*.jsonl"))]
    assert sorted(len(file.rows) for file in files) == [0, 0, 3]
    found = read_json(folder / "demo.json")
    assert (found["model"], found["chosen"], found["unanswered"]) == ("demo", "uniform", 0)


def test_what_a_change_runs(asked: Study):
    write_hivau(asked, wording="Where does it happen?")
    assert rules(asked) == {"list_hivau", "answer_hivau"} | AFTER_ANSWERS
    write_hivau(asked)
    asked.change_config(hivau={**SECTION, "scores": "headhunt"})
    assert rules(asked) >= {"answer_hivau"} | AFTER_ANSWERS
    assert "localize_events" not in rules(asked)
    asked.change_config(hivau={**SECTION, "scores": None}, metrics={"bootstrap": 7})
    assert {"score_texts", "report_metrics"} <= rules(asked)
    assert "answer_hivau" not in rules(asked)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": "none"}, "hivau.model is 'none'"),
        ({"scores": "none"}, "hivau.scores is 'none'"),
        ({"annotations": ["config/no.json"]}, "hivau: there is no file config/no.json"),
    ],
)
def test_bad_settings_are_said_before_any_job(asked: Study, change: dict, message: str):
    asked.change_config(hivau={**SECTION, **change})
    done = asked.snakemake("--dry-run")
    assert done.returncode != 0
    assert message in done.stdout
