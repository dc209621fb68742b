"""check-config, check-annotations, list-failures, show-results."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from probes import write_probe

from hhvad.cli import main
from hhvad.files import read_tsv, write_json, write_tsv
from hhvad.localization import locator
from hhvad.sheet import COLUMNS

ROOT = Path(__file__).resolve().parents[2]


def log(folder, name, text, age=0):
    path = folder / f"{name}.log"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    os.utime(path, (1e9 - age, 1e9 - age))


def test_failures_are_listed_once_a_message_and_bugs_apart(tmp_path, capsys):
    log(tmp_path, "probe_video/a", "hhvad: note: x\nhhvad: error: a.mp4: the file is empty\n")
    log(tmp_path, "capture_heads/m/p/b", "hhvad: error: model/: no tokenizer\n")
    log(tmp_path, "capture_heads/m/p/c", "hhvad: error: model/: no tokenizer\n")
    log(tmp_path, "fit_scorer/m", "Traceback (most recent call last):\n  ...\nKeyError: 'x'\n")
    log(tmp_path, "score_video/fine", "hhvad: note: hhvad: error: is only quoted here\nfine\n")
    log(tmp_path, "probe_video/old", "hhvad: error: long ago\n", age=100)
    assert main(["list-failures", "--logs", str(tmp_path), "--since", str(1e9 - 1)]) == 0
    assert capsys.readouterr().err.strip().splitlines() == [
        "4 jobs failed; their outputs were not written:",
        "  capture_heads/m/p/b and 1 more: model/: no tokenizer",
        "  fit_scorer/m: a bug of ours: KeyError: 'x' (the whole story is in the log)",
        "  probe_video/a: a.mp4: the file is empty",
    ]


def test_no_failure_left_a_line(tmp_path, capsys):
    assert main(["list-failures", "--logs", str(tmp_path)]) == 0
    assert "see Snakemake's own message" in capsys.readouterr().err


@pytest.fixture
def annotated(tmp_path):
    rows = [
        ("a", "a.mp4", "test", "anomaly", "", "0.5s-0.7s;1s-2s"),
        ("b", "b.mp4", "test", "", "", ""),
        ("c", "c.mp4", "validation", "anomaly", "", "0-5"),
    ]
    write_tsv(tmp_path / "sheet.tsv", COLUMNS, rows)
    write_probe(tmp_path / "a.json", 60)
    out = tmp_path / "out.tsv"
    command = ["check-annotations", "--sheet", str(tmp_path / "sheet.tsv"), "--split", "test"]
    return tmp_path, out, [*command, "--probes-folder", str(tmp_path), "--out", str(out)]


def test_annotations_of_a_split_in_frames(annotated):
    _, out, command = annotated
    assert main(command) == 0
    (row,) = read_tsv(out)
    assert row == {
        "video": "a", "label": "anomaly", "frames": "60", "fps": "30.0", "events": "15-21;30-60",
    }  # fmt: skip


def test_an_event_past_the_end_names_video_event_and_length(annotated, capsys):
    folder, out, command = annotated
    write_probe(folder / "a.json", 59)
    assert main(command) == 2
    assert "video a: event 1s-2s is frames 30-60, but the video has 59" in capsys.readouterr().err
    assert not out.exists()


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A study of two test videos, one of them judged, beside another study's results."""
    monkeypatch.chdir(tmp_path)
    rows = [
        *((f"c{i}", "x.mp4", "calibration", "normal", "", "") for i in range(2)),
        ("a", "a.mp4", "test", "", "", ""),
        ("b", "b.mp4", "test", "", "", ""),
    ]
    write_tsv("sheet.tsv", COLUMNS, rows)
    Path("mine.yaml").write_text("videos: sheet.tsv\nmethods: {still: {kind: motion}}\n")
    event = {"start_frame": 30, "end_frame": 60, "peak_score": 0.9}
    event |= {"start_seconds": 1.0, "end_seconds": 2.0}
    for name in ("a", "another"):
        write_json(f"results/mine/events/still/{name}.json", {"events": [event]})
    write_json("results/mine/locator/still.json", locator.Locator(1.5, 0.65).to_json())
    return tmp_path


def test_show_results_counts_the_videos_of_its_own_sheet(small, capsys):
    assert main(["show-results", "--config", "mine.yaml", "--report", "page.html"]) == 0
    out = capsys.readouterr().out
    assert "1 in 1 of 1 videos" in out
    assert "0.900" in out
    assert "not judged: 1 videos, the first is b" in out
    assert "the shortest event that it finds: 144 frames" in out
    assert "Report: page.html" in out


def test_show_results_says_how_much_is_damaged(small, capsys):
    write_probe(Path("results/mine/probe/a.json"), 1000, 25)
    assert main(["show-results", "--config", "mine.yaml"]) == 0
    assert "Damaged" not in capsys.readouterr().out
    write_probe(Path("results/mine/probe/a.json"), 1000, 25, damaged=((100, 150), (990, 1000)))
    assert main(["show-results", "--config", "mine.yaml"]) == 0
    assert "Damaged and not judged: 2.4 s of 40.0 s in 1 videos" in capsys.readouterr().out


def test_show_results_prints_undefined_metrics_as_such(small, capsys):
    number = {"value": 0.9123, "low": 0.8, "high": 0.95}
    none = {"value": None, "low": None, "high": None}
    metrics = {"auc": number, "auc_abnormal": none, "ap_step": number, "ap_trapezoid": number}
    write_json("results/mine/metrics/still.json", {"metrics": metrics})
    assert main(["show-results", "--config", "mine.yaml"]) == 0
    lines = capsys.readouterr().out.splitlines()
    (line,) = [line for line in lines if "frame AUC " in line]
    assert line.split()[2:] == ["91.23", "%", "(80.00", "-", "95.00)"]
    assert any(line.split()[-1:] == ["undefined"] for line in lines)


def test_check_config_names_what_is_missing(monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    assert main(["check-config", "--config", "config/config.yaml"]) == 0
    assert "methods headhunt (headhunt): fine" in capsys.readouterr().out
    assert main(["check-config", "--config", "config/nothing.yaml"]) == 2
    assert "config/nothing.yaml: there is no such file" in capsys.readouterr().err
