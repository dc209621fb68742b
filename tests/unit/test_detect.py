"""hhvad detect: its scores are those of the workflow's commands; mistakes are named."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
from numbered import write_numbered

import hhvad
from hhvad.artifacts import hdf5
from hhvad.cli import detect, main
from hhvad.files import read_json
from hhvad.methods.headhunt.detector import Detector

DETECTOR = Path(hhvad.__file__).parent / "demo/detector.h5"
HOW = ["--device", "cpu", "--threads", "1"]


def by_commands(path: Path, folder: Path, mask: str = "") -> bytes:
    """The score file that the rules' commands write of a video."""
    made = Detector.read(DETECTOR)
    probe, frames, heads = folder / "probe.json", folder / "frames.h5", folder / "heads.h5"
    out = folder / "scores.tsv"
    experts = " ".join(f"{head.layer},{head.head}" for head in made.experts)
    quiet = shlex.join([f"--prompt={made.prompt_text}", f"--system={made.system}"])
    for line in (
        f"probe-video --video v --path {path} --timeout 60 --out {probe}",
        f"sample-frames --video v --path {path} --probe {probe} --view segments --threads 1"
        f" --frames-per-segment 8 --segment-length 48 --size 56 56 {mask} --timeout 60"
        f" --out {frames}",
        f"capture-heads --frames {frames} --probe {probe} --times video --outer-marks no"
        " --model demo --model-name demo --revision ''"
        f" --dtype float32 --batch-size auto --device cpu --threads 1 --resident no"
        f" --idle-timeout 5 --commit-file none --prompt-id {made.prompt} {quiet}"
        f" --heads '{experts}' --out {heads}",
        f"score-headhunt --features {heads} --scorer {DETECTOR} --out {out}",
    ):
        assert main(shlex.split(line)) == 0
    return out.read_bytes()


def test_scores_equal_the_workflows_whatever_the_chunks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(detect, "CHUNK", 2 * 8 * 56 * 56 * 3)  # two segments
    video = tmp_path / "a b.mp4"
    write_numbered(video, 220)
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video")
    copy = tmp_path / "v.mp4"
    copy.write_bytes(video.read_bytes())
    out = tmp_path / "out"
    assert main(["detect", str(video), str(broken), *HOW, "--out", str(out)]) == 2
    told = capsys.readouterr()
    assert str(broken) in told.err
    assert "1 of 2 files" in told.err
    assert (out / "scores/detect/a_b.tsv").read_bytes() == by_commands(copy, tmp_path)
    events = read_json(out / "events/detect/a_b.json")["events"]
    assert f"{video}: {len(events)} events" in told.out
    assert (out / "subtitles/a_b.vtt").read_text().count(" --> ") == len(events)
    for name in ("index.html", "events.csv", "events.json", "videos.tsv"):
        assert (out / name).is_file()


def test_a_camera_has_its_mask(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    video, detector, out = tmp_path / "v.mp4", tmp_path / "d.h5", tmp_path / "out"
    write_numbered(video, 100)
    made = hdf5.read(DETECTOR, "detector")
    half = [[[0, 0], [0.5, 0], [0.5, 1], [0, 1]]]
    mine = {**made.provenance, "masks": {"door": half}}
    hdf5.write(detector, "detector", made.arrays, mine)
    command = ["detect", str(video), "--detector", str(detector), "--out", str(out), *HOW]
    found = {}
    for camera in ("door", "yard"):
        assert main([*command, "--camera", camera]) == 0
        found[camera] = (out / "scores/detect/v.tsv").read_bytes()
    assert "no mask of camera yard" in capsys.readouterr().err
    assert found["yard"] == by_commands(video, tmp_path)
    assert found["door"] == by_commands(video, tmp_path, f"--mask {json.dumps(half)!r}")
    assert found["door"] != found["yard"]


def test_subtitles() -> None:
    event = {"start_seconds": 59.9996, "end_seconds": 3661.5, "peak_score": 0.25}
    assert detect.subtitles([event]) == (
        "WEBVTT\n\n00:01:00.000 --> 01:01:01.500\nanomaly, score 0.250\n"
    )


def test_ids_of_files() -> None:
    files = [Path("a/x.mp4"), Path("b/X.mkv"), Path("a/x.mp4"), Path("-ü-.mp4")]
    assert [video.video for video in detect._videos(files, None)] == ["x", "X-2", "u"]


def test_the_demo_detector_is_of_the_demo_model() -> None:
    from hhvad import checkpoint

    assert Detector.read(DETECTOR).provenance["fingerprint"] == checkpoint.stamp("demo")


def test_a_file_that_is_no_detector(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "d.h5").write_bytes(b"nothing")
    assert main(["detect", "x.mp4", "--detector", str(tmp_path / "d.h5")]) == 2
    assert "d.h5" in capsys.readouterr().err
