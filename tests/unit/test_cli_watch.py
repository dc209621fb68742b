"""hhvad watch with the demo's model: the scores of a stream in files are those of the whole."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import av
import numpy as np
import pytest
from numbered import write_numbered

from hhvad.cli import main
from hhvad.files import read_json, read_tsv

HOW = ["--device", "cpu", "--threads", "1"]
BEGIN = datetime(2026, 11, 26, 10, tzinfo=UTC)
WHOLE = 5 * 48 + 20  # frames


def name_of(frame: int) -> str:
    at = BEGIN + timedelta(seconds=frame / 30)
    return f"door_{at:%Y%m%dT%H%M%S}.{at.microsecond // 1000:03d}Z.mkv"


@pytest.fixture(scope="module")
def stream(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A recording without loss, and the folder with the same frames in files of 2 segments."""
    folder = tmp_path_factory.mktemp("stream")
    lossless = {"codec": "ffv1", "pixels": "yuv420p"}
    whole = write_numbered(folder / "whole.mkv", WHOLE, **lossless)
    (folder / "live/door").mkdir(parents=True)
    with av.open(str(whole)) as source:
        frames = list(source.decode(video=0))
    for first in range(0, WHOLE, 96):
        with av.open(str(folder / "live/door" / name_of(first)), "w") as container:
            made = container.add_stream("ffv1", rate=30)
            made.width, made.height, made.pix_fmt = 128, 96, "yuv420p"
            for number, frame in enumerate(frames[first : first + 96]):
                frame.pts, frame.time_base = number, 1 / made.average_rate
                container.mux(made.encode(frame))
            container.mux(made.encode())
    return whole, folder / "live"


def lines_of(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_stream_in_files_has_the_scores_and_events_of_the_whole(
    stream, tmp_path, monkeypatch, capsys
):
    from dataclasses import replace

    from hhvad.methods.headhunt.detector import Detector

    whole, live = stream
    read = Detector.read

    def low(path):  # the demo's model finds nothing in numbers: lower its threshold
        found = read(path)
        return replace(found, locator=replace(found.locator, sigma=1.0, tau=TAU))

    out = tmp_path / "out"
    TAU = 0.5
    assert main(["detect", str(whole), "--causal", *HOW, "--out", str(out)]) == 0
    assert "calibrated on scores that are smoothed over past and future" in capsys.readouterr().err
    rows = read_tsv(out / "scores/detect/whole.tsv")
    TAU = float(np.median([float(row["score"]) for row in rows]))
    monkeypatch.setattr(Detector, "read", low)
    assert main(["detect", str(whole), "--causal", *HOW, "--out", str(out)]) == 0
    capsys.readouterr()
    assert main(["watch", str(live), "--once", *HOW, "--page", str(tmp_path / "page")]) == 0
    told = capsys.readouterr()
    assert "0.52 segments late" in told.err
    rows = read_tsv(out / "localization/detect/whole.tsv")
    journal = lines_of(live / ".watch/journal.jsonl")
    for key, column in (("scores", "score"), ("smoothed", "smoothed")):
        found = [one for line in journal for one in line.get(key, [])]
        assert found == [float(row[column]) for row in rows]
    changes = lines_of(live / "events.jsonl")
    assert [json.loads(line) for line in told.out.splitlines()] == changes
    closed = [one for one in changes if one["state"] == "closed"]
    expected = read_json(out / "events/detect/whole.json")["events"]
    assert len(expected) >= 1
    assert [one["peak_score"] for one in closed] == [one["peak_score"] for one in expected]
    for one, event in zip(closed, expected, strict=True):
        began = datetime.fromisoformat(one["started_at"]) - BEGIN
        assert began.total_seconds() == pytest.approx(event["start_seconds"], abs=2e-3)
        ended = datetime.fromisoformat(one["ended_at"]) - BEGIN
        assert ended.total_seconds() == pytest.approx(event["end_seconds"], abs=2e-3)
    day = tmp_path / "page/2026-11-26"
    assert (day / "index.html").is_file()
    assert len(read_tsv(day / "videos.tsv")) == 3
    assert main(["watch", str(live), "--once", *HOW]) == 0  # there is nothing new
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["rtsp://user:secret@camera/1"], "let `hhvad record` write it"),
        (["nowhere"], "there is no such folder"),
        ([".", "--webhook", "ftp://host"], "--webhook"),
        ([".", "--metrics", "here"], "--metrics here"),
        ([".", "--detector", "none.h5"], "none.h5"),
    ],
)
def test_mistakes_are_one_line(words, message, capsys):
    assert main(["watch", *words, *HOW]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "secret" not in error
