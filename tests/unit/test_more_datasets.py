"""Readers of further data sets, shipped frame counts, and score files of other methods' code."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from viewer_study import write_video

from hhvad.artifacts import scores
from hhvad.cli import main
from hhvad.datasets import dota, msad, shanghaitech, ubnormal
from hhvad.datasets.annotation import counted, read_frame_counts
from hhvad.errors import AnnotationError, ConfigError
from hhvad.files import read_json, read_tsv, write_tsv

MSAD = """name,scenario,total frames,starting frame of anomaly,ending frame of anomaly
Assault_1,shop,426,55,426
Traffic_accident_2,road,300,10,20
"""
HEADER = "video\tstart_frame\tend_frame\tscore\n"


def test_msad(tmp_path):
    path = tmp_path / "anomaly_annotation.csv"
    path.write_text(MSAD)
    normal, anomaly, other = msad.read(path, ["MSAD_normal_1", "Assault_1", "Traffic_accident_2"])
    assert (normal.label, normal.events) == ("normal", ())
    assert (anomaly.categories, anomaly.events) == (("Assault",), ((55, 426),))
    assert other.categories == ("Traffic_accident",)
    with pytest.raises(AnnotationError, match="video Fire_3 is not in it"):
        msad.read(path, ["Fire_3"])
    path.write_text(MSAD.replace("55", "x"))
    with pytest.raises(AnnotationError, match="line 2"):
        msad.read(path, ["Assault_1"])
    path.write_text("name,start\n")
    with pytest.raises(AnnotationError, match="starting frame of anomaly"):
        msad.read(path, ["Assault_1"])


def test_ubnormal(tmp_path):
    folder = tmp_path / "Scene1" / "abnormal_scene_1_scenario_1_annotations"
    folder.mkdir(parents=True)
    tracks = folder / "abnormal_scene_1_scenario_1_tracks.txt"
    tracks.write_text("1,10,19\n2,15.0,29.0\n3,40,40\n")
    names = ["normal_scene_1_scenario_2", "abnormal_scene_1_scenario_1"]
    normal, anomaly = ubnormal.read(tmp_path, names)
    assert (normal.label, anomaly.label) == ("normal", "anomaly")
    assert anomaly.events == ((10, 30), (40, 41))
    with pytest.raises(AnnotationError, match="has no abnormal_2_tracks"):
        ubnormal.read(tmp_path, ["abnormal_2"])
    for text, words in (("1,2\n", "not object,start,end"), ("1,9,2\n", "no frames"), ("", "track")):
        tracks.write_text(text)
        with pytest.raises(AnnotationError, match=words):
            ubnormal.read(tmp_path, names)
    with pytest.raises(ConfigError, match="not a folder"):
        ubnormal.read(tmp_path / "none", names)


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(1, 8)), max_size=8))
def test_a_union_covers_the_same_frames(spans):
    spans = [(start, start + length) for start, length in spans]
    merged = ubnormal.union(spans)
    frames = {frame for span in spans for frame in range(*span)}
    assert [frame for span in merged for frame in range(*span)] == sorted(frames)


def test_dota_is_judged_without_normal_videos(tmp_path, capsys):
    path = tmp_path / "metadata_val.json"
    entry = {
        "anomaly_start": 4,
        "anomaly_end": 8,
        "num_frames": 10,
        "anomaly_class": "ego: turning",
    }
    path.write_text(json.dumps({"a_000": entry}))
    (one,) = dota.read(path)
    assert (one.events, one.n_frames, one.categories) == (((4, 8),), 10, ("ego: turning",))
    table = tmp_path / "scores.tsv"
    table.write_text(HEADER + "a_000\t0\t4\t0.1\na_000\t4\t10\t0.9\n")
    flags = ["--dataset", "dota", "--annotations", str(path), "--scores", str(table)]
    out = tmp_path / "result.json"
    assert main(["evaluate", *flags, "--bootstrap", "0", "--out", str(out)]) == 0
    # 4 anomalous and 2 normal frames tie at 0.9: (4 * 4 + 4 * 2 / 2) / (4 * 6).
    assert read_json(out)["metrics"]["auc"]["value"] == pytest.approx(20 / 24)
    path.write_text(json.dumps({"a_000": {**entry, "anomaly_end": 4}}))
    assert main(["evaluate", *flags, "--bootstrap", "0", "--out", str(out)]) == 2
    assert "video a_000: anomaly 4-4" in capsys.readouterr().err


def test_shanghaitech(tmp_path):
    for name, mask in (("01_0014", [0, 1, 1, 0, 1]), ("01_0015", [0, 0])):
        np.save(tmp_path / f"{name}.npy", np.array(mask, dtype=np.int8))
    anomaly, normal = shanghaitech.read(tmp_path)
    assert (anomaly.video, anomaly.events, anomaly.n_frames) == ("01_0014", ((1, 3), (4, 5)), 5)
    assert (normal.label, normal.events, normal.n_frames) == ("normal", (), 2)
    np.save(tmp_path / "01_0014.npy", np.array([0, 2]))
    with pytest.raises(AnnotationError, match="a row of 0 and 1"):
        shanghaitech.read(tmp_path)
    np.save(tmp_path / "01_0014.npy", np.array([None]), allow_pickle=True)
    with pytest.raises(AnnotationError, match="not a mask"):
        shanghaitech.read(tmp_path)


@pytest.mark.parametrize(("name", "videos"), [("ucf-crime", 290), ("xd-violence", 800)])
def test_shipped_counts_are_the_shared_ones(shared, name, videos):
    counts = counted(None, name)
    assert len(counts) == videos
    assert counts == read_frame_counts(shared / "annotations" / name / "test_frame_counts.tsv")


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("ucf-crime", "Temporal_Anomaly_Annotation_for_Testing_Videos.txt"),
        ("xd-violence", "annotations.txt"),
    ],
)
def test_evaluate_needs_no_counts_of_the_two_data_sets(shared, tmp_path, name, file):
    table, out = tmp_path / "scores.tsv", tmp_path / "result.json"
    rows = [(video, 0, frames, 1 / frames) for video, frames in counted(None, name).items()]
    write_tsv(table, ("video", "start_frame", "end_frame", "score"), rows)
    flags = ["--dataset", name, "--annotations", str(shared / "annotations" / name / file)]
    flags += ["--scores", str(table), "--bootstrap", "0", "--out", str(out)]
    assert main(["evaluate", *flags]) == 0
    result = read_json(out)
    (short,) = [one for one in result["baselines"] if one["name"] == "1 / frames"]
    assert result["metrics"]["auc"]["value"] == pytest.approx(short["auc"], abs=1e-12)


def test_other_data_sets_ask_for_counts():
    with pytest.raises(ConfigError, match="hhvad frame-counts"):
        counted(None, "msad")


def test_frame_counts(tmp_path, capsys):
    write_video(tmp_path / "videos/a.b.mp4", 12)
    write_video(tmp_path / "videos/deep/c.mp4", 9)
    out = tmp_path / "counts.tsv"
    assert main(["frame-counts", str(tmp_path / "videos"), "--out", str(out)]) == 0
    assert read_frame_counts(out) == {"a.b": 12, "c": 9}
    (tmp_path / "videos/broken.mp4").write_bytes(b"none")
    assert main(["frame-counts", str(tmp_path / "videos"), "--out", str(out)]) == 2
    assert "1 videos were left out" in capsys.readouterr().err
    assert len(read_frame_counts(out)) == 2


def imported(tmp_path: Path, *flags: str) -> dict[str, scores.Segments]:
    out = tmp_path / "scores.tsv"
    assert main(["import-scores", str(tmp_path / "given"), *flags, "--out", str(out)]) == 0
    return scores.read_many(out)


@pytest.fixture
def given_folder(tmp_path):
    (tmp_path / "given").mkdir()
    return tmp_path / "given"


def test_lavad_scores(tmp_path, given_folder, capsys):
    counts = tmp_path / "counts.tsv"
    write_tsv(counts, ("video", "n_frames"), [("a.b_x264", 20)])
    (given_folder / "a.b_x264.json").write_text('{"0": 0.2, "16": 0.7}')
    flags = ["--from", "lavad", "--frame-counts", str(counts)]
    found = imported(tmp_path, *flags)["a.b_x264"]
    assert found.bounds.tolist() == [[0, 16], [16, 20]]
    assert found.scores.tolist() == [0.2, 0.7]
    refined = {"0": {"0": 0.2, "1": 0.6}, "16": {"0": 1.0, "1": 0.0}}
    (given_folder / "a.b_x264.json").write_text(json.dumps(refined))
    words = ["import-scores", str(given_folder), *flags, "--out", str(tmp_path / "no.tsv")]
    assert main(words) == 2
    assert "--similarities" in capsys.readouterr().err
    (tmp_path / "cosines").mkdir()
    cosines = {"0": {"0": 0.5, "1": 0.5}, "16": {"0": 0.9, "1": 0.1}}
    (tmp_path / "cosines/a.b_x264.json").write_text(json.dumps(cosines))
    found = imported(tmp_path, *flags, "--similarities", str(tmp_path / "cosines"))["a.b_x264"]
    weight = np.exp(0.9) / (np.exp(0.9) + np.exp(0.1))
    assert found.scores.tolist() == pytest.approx([0.4, weight])


def test_vera_scores(tmp_path, given_folder):
    content = {
        "0": {"start": 0, "end": 20.0, "score": 1},
        "16": {"start": 0, "end": 20, "score": 0},
    }
    (given_folder / "v.json").write_text(json.dumps(content))
    found = imported(tmp_path, "--from", "vera")["v"]
    assert found.bounds.tolist() == [[0, 16], [16, 20]]
    assert found.scores.tolist() == [1, 0]


def test_headhunt_scores(tmp_path, given_folder, capsys):
    segment = {"start_frame": 0, "end_frame": 48, "raw_score": 0.1, "smoothed_score": 0.3}
    content = {"total_frames": 60, "segments": [segment]}
    (given_folder / "v.json").write_text(json.dumps(content))
    (given_folder / "all_results.json").write_text('{"total_videos": 1}')
    found = imported(tmp_path, "--from", "headhunt")["v"]
    assert found.bounds.tolist() == [[0, 60]]
    assert found.scores.tolist() == [0.3]
    (given_folder / "v.json").write_text('{"total_frames": 60}')
    words = ["import-scores", str(given_folder), "--from", "headhunt"]
    assert main([*words, "--out", str(tmp_path / "no.tsv")]) == 2
    assert "--save_segment_scores" in capsys.readouterr().err


@pytest.mark.parametrize("source", ["lavad", "vera", "headhunt"])
@pytest.mark.parametrize("text", ["[]", "{}", '{"x": {"y": 1}}', "no json", '{"0": null}'])
def test_bad_score_files_are_one_line(tmp_path, given_folder, source, text, capsys):
    (given_folder / "bad.json").write_text(text)
    out = tmp_path / "scores.tsv"
    assert main(["import-scores", str(given_folder), "--from", source, "--out", str(out)]) == 2
    assert "bad.json" in capsys.readouterr().err
    assert not out.exists()


def test_make_sheet_of_masks(tmp_path):
    (tmp_path / "masks").mkdir()
    for name, mask in (("01_0014", [0] * 4 + [1] * 8), ("01_0015", [0] * 12)):
        np.save(tmp_path / f"masks/{name}.npy", np.array(mask))
    for name in ("01_0014", "01_0015", "01_001", "01_002"):
        write_video(tmp_path / f"videos/{name}.mp4", 12)
    flags = ["--videos", str(tmp_path / "videos"), "--annotations", str(tmp_path / "masks")]
    flags += ["--calibration-fraction", "0", "--out", str(tmp_path / "sheet.tsv")]
    assert main(["make-sheet", "shanghaitech", *flags]) == 0
    rows = {row["video"]: row for row in read_tsv(tmp_path / "sheet.tsv")}
    assert set(rows) == {"01_0014", "01_0015"}
    assert rows["01_0014"]["events"] == "4-12"
