"""Whole results: real annotations, the workflow's files, and scores that do not fit."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from probes import write_probe
from sklearn.metrics import auc as area
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score

from hhvad import sheet
from hhvad.artifacts import scores
from hhvad.cli import main
from hhvad.datasets import annotation as datasets
from hhvad.datasets import hivau_70k
from hhvad.errors import AnnotationError
from hhvad.evaluation import evaluate, intervals
from hhvad.files import read_tsv, write_json
from hhvad.localization import locator
from hhvad.media.time import FrameTimes

# Degenerate baselines on the real annotations, half-open, in percent:
# AUC, step-wise AP, trapezoid AP, and AUC over abnormal videos alone.
REFERENCE = {
    "ucf-crime": {
        "centre prior": (61.88, 10.00, 10.02, 63.43),
        "1 / frames": (65.12, 10.32, 10.16, None),
        "perfect video label": (81.57, 18.19, 59.09, 50.00),
        "perfect video label x centre prior": (86.52, 24.02, 24.04, 63.43),
    },
    "xd-violence": {
        "centre prior": (54.59, 25.08, 25.10, 57.04),
        "1 / frames": (58.86, 28.56, 28.47, None),
        "perfect video label": (84.89, 49.77, 74.89, 50.00),
        "perfect video label x centre prior": (87.02, 54.16, 54.17, 57.04),
    },
}
POSITIVE = {  # half-open, inclusive
    "ucf-crime": (84_182, 84_331),
    "xd-violence": (538_324, 539_562),
}


def files(shared, dataset):
    folder = shared / "annotations" / dataset
    name = "annotations.txt" if dataset == "xd-violence" else "Temporal_Anomaly_Annotation.txt"
    return folder / name, folder / "test_frame_counts.tsv"


def write_scores(path, counts, seed=0, length=48):
    """Random scores of segments, as anybody would hand them in."""
    generator = np.random.default_rng(seed)
    lines = ["video\tstart_frame\tend_frame\tscore"]
    for name, n in counts.items():
        for start in range(0, n, length):
            lines.append(f"{name}\t{start}\t{min(start + length, n)}\t{generator.random():.3f}")
    path.write_text("\n".join(lines) + "\n")


@pytest.fixture(params=["ucf-crime", "xd-violence"])
def judged(request, shared, tmp_path):
    """The command on a real dataset and random scores: its flags."""
    dataset = request.param
    annotations, counts = files(shared, dataset)
    write_scores(tmp_path / "scores.tsv", datasets.read_frame_counts(counts))
    return [
        *("evaluate", "--dataset", dataset, "--annotations", str(annotations)),
        *("--frame-counts", str(counts), "--scores", str(tmp_path / "scores.tsv")),
        *("--out", str(tmp_path / "result.json"), "--table", str(tmp_path / "table.tsv")),
    ]


def test_real_datasets(judged, tmp_path, capsys):
    dataset = judged[2]
    assert main([*judged, "--tau", "0.9", "--bootstrap", "3"]) == 0
    result = json.loads((tmp_path / "result.json").read_text())
    for row in result["baselines"]:
        expected = REFERENCE[dataset][row["name"]]
        names = ("auc", "ap_step", "ap_trapezoid", "auc_abnormal")
        for name, value in zip(names, expected, strict=True):
            if value is not None:
                assert round(100 * row[name], 2) == pytest.approx(value, abs=0.0001), row["name"]
    assert result["frames"]["anomalous"] == POSITIVE[dataset][0]
    assert result["frames"]["scored"] == result["frames"]["annotated"]
    assert result["left_out"] == {}
    assert result["metrics"]["auc"]["value"] == pytest.approx(0.5, abs=0.02)
    assert result["metrics"]["auc"]["kind"] == "jackknife"
    assert result["metrics"]["event_map"]["value"] < 0.1
    assert set(evaluate.MEANINGS) == set(result["metrics"])
    undefined = [name for name, entry in result["metrics"].items() if entry["value"] is None]
    # A table of frame counts says nothing of time.
    assert undefined == ["detection_delay_seconds", *evaluate.PER_HOUR]
    assert len(result["categories"]) == (13 if dataset == "ucf-crime" else 6)
    assert len(result["per_video"]) == (290 if dataset == "ucf-crime" else 800)
    assert {row["source"] for row in result["published"]} == {"reported by its authors"}
    paper = next(row for row in result["published"] if row["method"] == "HeadHunt-VAD")
    assert paper["value"] == (87.03 if dataset == "ucf-crime" else 82.63)
    clipped = [note for note in result["notes"] if "clipped" in note]
    assert len(clipped) == (5 if dataset == "ucf-crime" else 0)
    table = {row["metric"]: row for row in read_tsv(tmp_path / "table.tsv")}
    assert float(table["ap_step"]["value"]) == result["metrics"]["ap_step"]["value"]
    assert "perfect video label x centre prior" in capsys.readouterr().out


def test_real_datasets_inclusive(judged, tmp_path):
    assert main([*judged, "--inclusive", "--bootstrap", "0"]) == 0
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["frames"]["anomalous"] == POSITIVE[judged[2]][1]
    assert result["interval"] == "inclusive"
    assert result["metrics"]["recall"]["reason"] == "no threshold tau is given"
    found = result["metrics"]["auc"]
    assert found["low"] < found["value"] < found["high"]


def test_same_bytes(judged, tmp_path):
    outputs = []
    for _ in range(2):
        assert main([*judged, "--bootstrap", "2", "--seed", "4"]) == 0
        outputs.append((tmp_path / "result.json").read_bytes())
    assert outputs[0] == outputs[1]


def test_hivau(shared, tmp_path):
    path = shared / "annotations" / "hivau-70k" / "ucf_database_test.json"
    counts = {one.video: one.n_frames for one in hivau_70k.read(path)}
    write_scores(tmp_path / "scores.tsv", counts)
    flags = ["--dataset", "hivau-70k", "--annotations", str(path), "--tau", "0.5"]
    flags += ["--scores", str(tmp_path / "scores.tsv"), "--bootstrap", "0"]
    assert main(["evaluate", *flags, "--out", str(tmp_path / "result.json")]) == 0
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["videos"]["labelled"] == 251
    assert result["metrics"]["detection_delay_seconds"]["value"] > 0
    assert result["published"] == []


def video(name, n, events, values, length=10, **more):
    starts = np.arange(0, n, length)
    bounds = np.stack([starts, np.minimum(starts + length, n)], axis=1)
    tau = more.pop("tau", 0.5)
    given = np.array(values, dtype=float)
    if "fps" in more:
        more["times"] = FrameTimes(n, Fraction(more.pop("fps")))
    return evaluate.Scored(
        video=name,
        label=more.pop("label", "anomaly" if events else "normal"),
        categories=more.pop("categories", ()),
        n_frames=n,
        events=events,
        bounds=bounds,
        scores=given,
        detected=tuple(locator.events(given, tau, bounds)),
        **more,
    )


def test_by_hand():
    videos = [
        video("a", 40, ((10, 20),), [0.1, 0.9, 0.8, 0.2], categories=("x", "y"), fps=10.0),
        video("b", 25, ((5, 15), (20, 25)), [0.6, 0.3, 0.4], categories=("x",), fps=5.0),
        video("n", 30, (), [0.0, 0.7, 0.1], fps=10.0),
    ]
    result = evaluate.evaluate(videos, tau=0.5, resamples=0)
    value = {name: entry["value"] for name, entry in result["metrics"].items()}
    assert result["frames"] == {"annotated": 95, "scored": 95, "anomalous": 25}
    # Above 0.5: a 10-30 (10 anomalous), b 0-10 (5 anomalous), n 10-20.
    assert value["precision"] == 15 / 40
    assert value["recall"] == 15 / 25
    assert value["f1_at_tau"] == pytest.approx(30 / 65)
    assert value["false_alarm_rate"] == 25 / 70
    assert value["false_alarm_rate_normal_videos"] == 10 / 30
    assert value["event_recall"] == 2 / 3
    assert value["detection_delay_frames"] == 0
    assert value["video_auc"] == 1 / 2
    # By score: a's 10-30 meets 10-20 (IoU 1/2), n's is false, b's 0-10 meets 5-15 (IoU 1/3).
    assert value["event_ap_0.3"] == pytest.approx(1 / 3 + 2 / 3 / 3)
    assert value["event_ap_0.5"] == pytest.approx(1 / 3)
    assert value["event_ap_0.6"] == 0
    assert result["events"] == {"annotated": 3, "detected": 3}
    assert result["per_video"]["a"]["auc"] == 1
    assert result["per_video"]["n"]["auc"] is None
    assert result["categories"]["y"]["videos"] == 1
    assert result["categories"]["x"]["videos"] == 2
    both = [*[0.1] * 10, *[0.9] * 10, *[0.8] * 10, *[0.2] * 10, *[0.0] * 10, *[0.7] * 10]
    both += [0.1] * 10
    labels = [*[0] * 10, *[1] * 10, *[0] * 50]
    assert result["categories"]["y"]["auc"]["value"] == pytest.approx(roc_auc_score(labels, both))


def test_one_video_of_a_class_has_no_interval():
    videos = [
        video("a", 40, ((10, 20),), [0.1, 0.9, 0.8, 0.2], categories=("x",)),
        video("n", 30, (), [0.0, 0.7, 0.1]),
        video("m", 30, (), [0.0, 0.6, 0.8]),
    ]
    result = evaluate.evaluate(videos, tau=0.5, resamples=20)
    for entry in (
        *(result["metrics"][name] for name in ("auc", "auc_abnormal", "recall", "video_auc")),
        *(result["categories"]["x"][name] for name in ("auc", "auc_abnormal")),
    ):
        assert entry["value"] is not None
        assert (entry["low"], entry["high"], entry["kind"]) == (None, None, "none")
        assert entry["n_resamples"] == 0
    # normal videos alone: there are two
    assert result["metrics"]["false_alarm_rate_normal_videos"]["kind"] == "jackknife"


def six_videos():
    values = [[0.1, 0.9, 0.3], [0.6, 0.5, 0.8], [0.3, 0.4, 0.35]]
    return [
        *(video(f"a{i}", 30, ((10, 20),), v, fps=10.0) for i, v in enumerate(values)),
        *(video(f"n{i}", 30, (), np.array(v) / 2, fps=10.0) for i, v in enumerate(values)),
        video("whole", 30, None, [0.2, 0.7, 0.1], label="anomaly", fps=10.0),
    ]


@pytest.mark.parametrize("resamples", [0, 50])
def test_kinds_of_intervals(resamples):
    """AUC from its leave-one-out values, computed here on frames by scikit-learn."""
    videos = six_videos()
    result = evaluate.evaluate(videos, tau=0.5, resamples=resamples)
    found = result["metrics"]
    annotated = [one for one in videos if one.events is not None]
    label = [1 if one.events and at == 1 else 0 for one in annotated for at in range(3)]
    given = [float(score) for one in annotated for score in one.scores]
    values = []
    for left in range(6):
        rows = [row for row in range(18) if row // 3 != left]
        values.append(roc_auc_score([label[row] for row in rows], [given[row] for row in rows]))
    # "whole" has no frames to judge: leaving it out changes nothing
    values.append(roc_auc_score(label, given))
    moved = np.log(np.array(values) / (1 - np.array(values)))
    se = math.sqrt(6 / 7 * ((moved - moved.mean()) ** 2).sum())
    centre = math.log(values[-1] / (1 - values[-1]))
    ends = [1 / (1 + math.exp(-(centre + sign * 4.302653 * se))) for sign in (-1, 1)]  # t of 2
    assert [found["auc"]["low"], found["auc"]["high"]] == pytest.approx(ends, abs=1e-6)
    assert (found["auc"]["kind"], found["auc"]["n_resamples"]) == ("jackknife", 0)
    assert found["ap_step"]["kind"] == "jackknife"
    assert found["ap_step"]["high"] - found["ap_step"]["low"] > 0
    # a perfect false_alarm_rate of 0: an edge with and without a bootstrap
    assert found["false_alarm_rate_normal_videos"]["value"] == 0
    assert found["false_alarm_rate_normal_videos"]["kind"] == "edge"
    assert found["false_alarm_rate_normal_videos"]["high"] == pytest.approx(1 - 0.025 ** (1 / 3))
    assert found["detection_delay_frames"]["value"] == 0
    assert found["detection_delay_frames"]["kind"] == "none"  # nothing varies
    rows = {row[0]: row for row in evaluate.table_rows(result)}
    assert rows["auc"][1:5] == tuple(found["auc"][key] for key in ("value", "low", "high", "kind"))
    assert rows["auc of 1 / frames"][4] == "none"
    assert all(len(row) == len(evaluate.COLUMNS) for row in rows.values())
    line = next(one for one in evaluate.text_table(result).splitlines() if one.startswith("auc "))
    assert "jackknife" in line
    assert result["interval_kinds"] == intervals.KINDS


def test_delays_have_a_bootstrap():
    videos = [
        video("a", 30, ((5, 25),), [0.1, 0.9, 0.3]),
        video("b", 30, ((0, 30),), [0.1, 0.2, 0.8]),
        video("n", 30, (), [0.1, 0.6, 0.3]),
        video("m", 30, (), [0.1, 0.2, 0.3]),
    ]
    found = evaluate.evaluate(videos, tau=0.5, resamples=50)["metrics"]["detection_delay_frames"]
    assert (found["value"], found["low"], found["high"]) == (12.5, 5, 20)
    assert found["kind"] == "bootstrap"
    assert 0 < found["n_resamples"] < 50  # some resamples have neither event


@pytest.mark.parametrize(("count", "wide"), [(29, True), (30, False)])
def test_few_videos_are_a_note(count, wide):
    videos = [video(f"v{i}", 10, ((0, 5),) if i % 2 else (), [i / count]) for i in range(count)]
    notes = " ".join(evaluate.evaluate(videos, resamples=0)["notes"])
    assert (f"intervals of {count} videos are wide" in notes) == wide


def test_one_video_without_detections_leaves_events_undefined():
    videos = six_videos()
    videos[1] = replace(videos[1], detected=None)
    result = evaluate.evaluate(videos, tau=0.5, resamples=0)
    assert result["metrics"]["event_map"]["value"] is None
    assert "no detected events" in result["metrics"]["event_map"]["reason"]
    assert result["events"]["detected"] is None
    # a video that is not annotated does not count
    videos = [*six_videos()[:-1], replace(six_videos()[-1], detected=None)]
    result = evaluate.evaluate(videos, tau=0.5, resamples=0)
    assert result["metrics"]["event_map"]["value"] is not None


@pytest.mark.parametrize(("dataset", "metric", "value"), [
    ("ucf-crime", "AUC", 0.8703), ("xd-violence", "AP", 0.8263),
])  # fmt: skip
def test_published_figures_are_fractions_in_the_table(dataset, metric, value):
    result = evaluate.evaluate(six_videos(), dataset=dataset, resamples=0)
    rows = {row[0]: row for row in evaluate.table_rows(result)}
    assert rows[f"{metric} of HeadHunt-VAD"][1] == pytest.approx(value, abs=1e-12)
    assert f"{100 * value:.2f}" in evaluate.text_table(result)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.data())
def test_as_expanded_frames(data):
    """Whole videos with events and segments cut anyhow, against scikit-learn on single frames."""
    videos = []
    for index in range(data.draw(st.integers(2, 4))):
        n = data.draw(st.integers(4, 60))
        cut = sorted(data.draw(st.sets(st.integers(0, n), max_size=4)))
        events = tuple(zip(cut[::2], cut[1::2], strict=False)) if index else ()
        length = data.draw(st.integers(1, 20))
        count = math.ceil(n / length)
        values = data.draw(st.lists(st.integers(0, 6), min_size=count, max_size=count))
        videos.append(video(f"v{index}", n, events, np.array(values) / 6, length))
    result = evaluate.evaluate(videos, tau=0.5, resamples=0)
    for suffix, some in (
        ("", videos),
        ("_abnormal", [one for one in videos if one.label == "anomaly"]),
    ):
        labels, values = [np.zeros(0)], [np.zeros(0)]
        for one in some:
            label = np.zeros(one.n_frames)
            for start, end in one.events:
                label[start:end] = 1
            labels.append(label)
            values.append(np.repeat(one.scores, one.bounds[:, 1] - one.bounds[:, 0]))
        y, s = np.concatenate(labels), np.concatenate(values)
        entries = {name: result["metrics"][f"{name}{suffix}"] for name in evaluate.CURVES}
        if len(np.unique(y)) < 2:
            assert all(entry["value"] is None and entry["reason"] for entry in entries.values())
            continue
        precision, recall, _ = precision_recall_curve(y, s)
        assert entries["auc"]["value"] == pytest.approx(roc_auc_score(y, s), abs=1e-12)
        assert entries["ap_step"]["value"] == pytest.approx(
            average_precision_score(y, s), abs=1e-12
        )
        assert entries["ap_trapezoid"]["value"] == pytest.approx(area(recall, precision), abs=1e-12)
        if not suffix:
            above = s > 0.5
            f1 = 2 * y[above].sum() / (above.sum() + y.sum())
            assert result["metrics"]["f1_at_tau"]["value"] == pytest.approx(f1, abs=1e-12)
    json.dumps(result, allow_nan=False)


@pytest.mark.parametrize(
    ("videos", "reasons"),
    [
        (
            [video("n", 20, (), [0.1, 0.2])],
            {"auc": "no frame is anomalous", "video_auc": "the videos are all of one class"},
        ),
        (
            [video("a", 20, ((0, 20),), [0.1, 0.2])],
            {"auc": "no normal frame", "detection_delay_frames": "no annotated event is found"},
        ),
        (
            [video("a", 20, ((0, 5),), [0.1, 0.2]), video("n", 10, (), [0.2])],
            {"precision": "no frame is above tau", "detection_delay_seconds": "is found at tau"},
        ),
        (
            [video("a", 20, None, [0.6, 0.2], label="anomaly"), video("n", 10, (), [0.6])],
            {"auc": "no frame is anomalous", "event_map": "no event is annotated"},
        ),
        (
            [video("a", 20, ((0, 5),), [0.6, 0.2])],
            {
                "detection_delay_seconds": "frame rates are not given",
                "false_alarm_rate_normal_videos": "there is no normal video",
            },
        ),
    ],
)
def test_what_is_undefined_says_why(videos, reasons):
    result = evaluate.evaluate(videos, tau=0.5, resamples=5)
    for name, reason in reasons.items():
        entry = result["metrics"][name]
        assert entry["value"] is entry["low"] is entry["high"] is None
        assert entry["n_resamples"] == 0
        assert reason in entry["reason"]
    json.dumps(result, allow_nan=False)
    assert "undefined" in evaluate.text_table(result)
    assert any("undefined: " in row[-1] for row in evaluate.table_rows(result))


def test_no_video_is_an_error():
    with pytest.raises(AnnotationError, match="nothing to judge"):
        evaluate.evaluate([])


def segments(rows):
    return scores.Segments(
        np.array([row[:2] for row in rows], dtype=np.int64), np.array([row[2] for row in rows])
    )


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([(0, 10, 0.1), (8, 20, 0.2)], "segment 8-20 with score 0.2 overlaps"),
        ([(0, 20, 1.5)], r"score 1.5 has a score outside \[0, 1\]"),
        ([(0, 20, -0.1)], "outside"),
        ([(0, 0, 0.1), (0, 20, 0.1)], "is empty"),
        ([(-1, 20, 0.1)], "negative"),
    ],
)
def test_scores_that_are_wrong(rows, message):
    for allow in (False, True):
        with pytest.raises(AnnotationError, match=f"file: video v: .*{message}"):
            scores.check("file: video v", segments(rows), 20, allow_missing=allow)


@pytest.mark.parametrize(
    ("rows", "message", "passed"),
    [
        ([(5, 10, 0.1), (12, 20, 0.2)], "7 of 20 frames have no score, the first is 0",
         {"frames without a score": 7}),
        ([(0, 10, 0.1), (12, 20, 0.2)], "2 of 20 frames have no score, the first is 10",
         {"frames without a score": 2}),
        ([(0, 16, 0.1)], "4 of 20 frames have no score, the first is 16",
         {"frames without a score": 4}),
        ([(0, 10, math.nan), (10, 20, 0.2)], "segment 0-10 with score nan is not finite",
         {"frames whose score is not finite": 10}),
        ([(0, 16, 0.1), (16, 32, 0.2), (32, 48, 0.1)], "segment 16-32 .*and 1 more.* past the end",
         {"scored frames past the end of their video": 28}),
    ],
)  # fmt: skip
def test_scores_that_are_missing(rows, message, passed):
    with pytest.raises(AnnotationError, match=message):
        scores.check("v", segments(rows), 20)
    kept, counts = scores.check("v", segments(rows), 20, allow_missing=True)
    assert counts == passed
    assert kept.bounds.max() <= 20
    assert np.isfinite(kept.scores).all()


def test_scores_in_any_order():
    kept, counts = scores.check("v", segments([(10, 20, 0.2), (0, 10, 0.1)]), 20)
    assert kept.bounds.tolist() == [[0, 10], [10, 20]]
    assert kept.scores.tolist() == [0.1, 0.2]
    assert counts == {}


@pytest.fixture
def small(tmp_path):
    """A UCF-Crime of three test videos: flags of evaluate."""
    (tmp_path / "annotation.txt").write_text(
        "A_x264.mp4  Abuse  5  15  -1  -1\nB_x264.mp4  Arson  0  10  -1  -1\n"
        "N_x264.mp4  Normal  -1  -1  -1  -1\n"
    )
    (tmp_path / "counts.tsv").write_text("video\tn_frames\nA_x264\t20\nB_x264\t20\nN_x264\t20\n")
    return [
        *("evaluate", "--dataset", "ucf-crime", "--annotations", str(tmp_path / "annotation.txt")),
        *("--frame-counts", str(tmp_path / "counts.tsv"), "--bootstrap", "0"),
        *("--scores", str(tmp_path / "scores.tsv"), "--out", str(tmp_path / "result.json")),
    ]


HEADER = "video\tstart_frame\tend_frame\tscore\n"
A, B, N = "A_x264\t0\t20\t0.9\n", "B_x264.mp4\t0\t20\t0.8\n", "N_x264\t0\t20\t0.1\n"


@pytest.mark.parametrize(
    ("text", "words", "left_out"),
    [
        (A + N, ["1 videos without a score", "B_x264"], {"videos without a score": ["B_x264"]}),
        (A + B + N + "C\t0\t5\t0.1\n", ["1 scores without a video", "C"],
         {"scores without a video": ["C"]}),
        (A + B + "N_x264\t0\t15\t0.1\n", ["video N_x264", "5 of 20 frames have no score"],
         {"frames without a score (5 frames)": ["N_x264"]}),
        (A + B, ["without a score: N_x264"], {"videos without a score": ["N_x264"]}),
        (A + B + "N_x264\t0\t20\tnan\n", ["video N_x264", "not finite"],
         {"videos without a score": ["N_x264"],
          "frames whose score is not finite (20 frames)": ["N_x264"]}),
    ],
)  # fmt: skip
def test_missing_is_named_or_counted(small, tmp_path, capsys, text, words, left_out):
    (tmp_path / "scores.tsv").write_text(HEADER + text)
    assert main(small) == 2
    error = capsys.readouterr().err
    assert all(word in error for word in [str(tmp_path / "scores.tsv"), *words])
    assert not (tmp_path / "result.json").exists()
    assert main([*small, "--allow-missing"]) == 0
    result = json.loads((tmp_path / "result.json").read_text())
    found = {reason: entry["names"] for reason, entry in result["left_out"].items()}
    assert found == left_out
    assert "left out" in capsys.readouterr().out


def test_one_class_is_an_error(small, tmp_path, capsys):
    (tmp_path / "annotation.txt").write_text("A_x264.mp4  Abuse  5  15  -1  -1\n")
    (tmp_path / "scores.tsv").write_text(HEADER + A)
    assert main(small) == 2
    assert "all 1 videos are of class anomaly" in capsys.readouterr().err
    assert main([*small, "--allow-missing"]) == 0


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "column 'video' is absent"),
        (HEADER, "no scores"),
        (HEADER + "A_x264\t0\t20\n", "line 2"),
        (HEADER + "A_x264\t0\tx\t0.1\n", "'x'"),
        (HEADER + "A_x264\t0\t20\thigh\n", "'high'"),
        (HEADER + A + A + B + N, "overlaps"),
        (HEADER + A + A.replace("\t", ".mp4\t", 1) + B + N, "are one video"),
    ],
)
def test_malformed_score_files(small, tmp_path, capsys, text, word):
    (tmp_path / "scores.tsv").write_text(text)
    for more in ([], ["--allow-missing"]):
        assert main([*small, *more]) == 2
        assert word in capsys.readouterr().err


@pytest.mark.parametrize("flags", [("--tau", "2"), ("--bootstrap", "-1")])
def test_bad_flags(small, tmp_path, capsys, flags):
    (tmp_path / "scores.tsv").write_text(HEADER + A + B + N)
    assert main([*small, *flags]) == 2
    assert flags[0] in capsys.readouterr().err


def write_run(folder, videos, *, calibrated=True):
    """The files of a run: sheet, locator, probes, smoothed scores and events."""
    lines = ["\t".join(sheet.COLUMNS)]
    for name in ("scores", "events", "probe"):
        (folder / name).mkdir()
    for name, (n, label, category, events, values) in videos.items():
        lines.append(f"{name}\t{name}.mp4\ttest\t{label}\t{category}\t{events}")
        write_probe(folder / "probe" / f"{name}.json", n, 10)
        starts = np.arange(0, n, 10)
        bounds = np.stack([starts, np.minimum(starts + 10, n)], axis=1)
        rows = [
            f"{i}\t{s}\t{e}\t{value / 2}\t{value}\t{int(value > 0.5)}\n"
            for i, ((s, e), value) in enumerate(zip(bounds.tolist(), values, strict=True))
        ]
        header = "segment\tstart_frame\tend_frame\tscore\tsmoothed\tanomalous\n"
        (folder / "scores" / f"{name}.tsv").write_text(header + "".join(rows))
        found = [
            f"{name}\t{e.start}\t{e.end}\t{e.start / 10}\t{e.end / 10}\t{e.peak}\n"
            for e in locator.events(values, 0.5, bounds)
        ]
        header = "video\tstart_frame\tend_frame\tstart_seconds\tend_seconds\tpeak_score\n"
        (folder / "events" / f"{name}.tsv").write_text(header + "".join(found))
    lines.append("train\ttrain.mp4\tcalibration\tnormal\t\t")
    (folder / "videos.tsv").write_text("\n".join(lines) + "\n")
    found = locator.Locator(1.5, 0.5, calibrated=calibrated)
    write_json(folder / "locator.json", found.to_json())
    return [
        *("report-metrics", "--method", "headhunt", "--sheet", str(folder / "videos.tsv")),
        *("--scores-folder", str(folder / "scores"), "--events-folder", str(folder / "events")),
        *("--probes-folder", str(folder / "probe"), "--locator", str(folder / "locator.json")),
        *("--dataset", "none", "--interval", "half-open", "--bootstrap", "10", "--seed", "0"),
        *("--out", str(folder / "metrics.json"), "--table", str(folder / "metrics.tsv")),
    ]


RUN = {
    "a.b#1": (40, "anomaly", "fall; fire", "10-20", [0.1, 0.9, 0.8, 0.2]),
    "b": (25, "anomaly", "fire", "0.5s-1.5s", [0.6, 0.3, 0.4]),
    "n": (30, "normal", "", "", [0.0, 0.7, 0.1]),
    "u": (30, "", "", "", [0.5, 0.7, 0.1]),
    "whole": (20, "anomaly", "", "", [0.1, 0.95]),
}


def test_report_metrics(tmp_path, capsys):
    command = write_run(tmp_path, RUN, calibrated=False)
    assert main([*command, "--dataset", "xd-violence"]) == 0
    result = json.loads((tmp_path / "metrics.json").read_text())
    assert result["method"] == "headhunt"
    assert locator.Locator(**result["locator"]) == locator.Locator(1.5, 0.5)
    assert result["left_out"] == {"unlabelled": {"count": 1, "names": ["u"]}}
    assert result["videos"] == {"labelled": 4, "annotated": 3, "normal": 1, "anomaly": 3}
    assert result["frames"] == {"annotated": 95, "scored": 95, "anomalous": 20}
    assert set(result["categories"]) == {"fall", "fire"}
    assert result["tau"] == 0.5
    assert result["raw"]["auc"] == result["metrics"]["auc"]["value"]  # halved: the same order
    assert result["metrics"]["detection_delay_seconds"]["value"] == 0
    notes = " ".join(result["notes"])
    assert "not calibrated" in notes
    assert "the first is whole" in notes
    assert "HeadHunt-VAD" in capsys.readouterr().out
    table = read_tsv(tmp_path / "metrics.tsv", evaluate.COLUMNS)
    assert all(row["meaning"] for row in table)
    first = (tmp_path / "metrics.json").read_bytes()
    assert main([*command, "--dataset", "xd-violence"]) == 0
    assert (tmp_path / "metrics.json").read_bytes() == first


def test_report_metrics_of_damaged_videos(tmp_path, capsys):
    """Of b's only event no frame is left; of a.b#1 a part without event is lost."""
    command = write_run(tmp_path, RUN)
    for name, frames, damaged, lost in (("a.b#1", 40, (22, 28), [2]), ("b", 25, (3, 18), [0, 1])):
        write_probe(tmp_path / f"probe/{name}.json", frames, 10, damaged=(damaged,))
        assert main(command) == 2  # there is a score of damaged frames
        assert "scores damaged frames" in capsys.readouterr().err
        path = tmp_path / f"scores/{name}.tsv"
        header, *rows = path.read_text().splitlines()
        kept = [row for i, row in enumerate(rows) if i not in lost]
        path.write_text("\n".join([header, *kept]) + "\n")
    assert main(command) == 0
    result = json.loads((tmp_path / "metrics.json").read_text())
    assert result["frames"] == {"annotated": 95, "scored": 65, "anomalous": 10}
    assert result["events"]["annotated"] == 1
    assert any(note.startswith("21 frames of 2 videos are damaged") for note in result["notes"])


def test_report_metrics_inclusive(tmp_path):
    command = write_run(tmp_path, RUN)
    assert main([*command, "--interval", "inclusive"]) == 0
    result = json.loads((tmp_path / "metrics.json").read_text())
    assert result["frames"]["anomalous"] == 22
    assert not any("calibrated" in note for note in result["notes"])


def test_report_metrics_of_normal_videos_alone(tmp_path):
    command = write_run(tmp_path, {"n": RUN["n"]})
    assert main(command) == 0
    result = json.loads((tmp_path / "metrics.json").read_text())
    assert result["metrics"]["auc"]["reason"] == "no frame is anomalous"
    assert result["metrics"]["false_alarm_rate"]["value"] == 10 / 30


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("videos.tsv", "10-20", "10-50"), ["a.b#1", "10-50", "40 frames"]),
        (("scores/b.tsv", "0.4\t0", "1.4\t0"), ["b.tsv", "outside [0, 1]"]),
        (("scores/b.tsv", "10\t20", "10\t19"), ["b.tsv", "1 of 25 frames"]),
        (("probe/b.json", '"frames": 25', '"frames": null'), ["b.json", "frames"]),
        (("events/b.tsv", "0.6\n", "high\n"), ["events", "b.tsv", "high"]),
        (("locator.json", '"tau": 0.5', '"tau": "0.5"'), ["locator.json", "wrong type"]),
    ],
)
def test_report_metrics_refuses(tmp_path, capsys, change, words):
    command = write_run(tmp_path, RUN)
    name, old, new = change
    text = (tmp_path / name).read_text()
    assert old in text
    (tmp_path / name).write_text(text.replace(old, new))
    assert main(command) == 2
    error = capsys.readouterr().err
    assert all(word in error for word in words)
    assert not (tmp_path / "metrics.json").exists()


def test_report_metrics_has_no_defaults(tmp_path, capsys):
    command = write_run(tmp_path, RUN)
    for at in range(1, len(command), 2):
        with pytest.raises(SystemExit):
            main([*command[:at], *command[at + 2 :]])
        assert command[at] in capsys.readouterr().err


def test_published_numbers_are_shares_in_the_table():
    videos = [
        video("a", 40, ((10, 20),), [0.1, 0.9, 0.8, 0.2]),
        video("n", 30, (), [0.0, 0.7, 0.1]),
    ]
    result = evaluate.evaluate(videos, dataset="ucf-crime", tau=0.5, resamples=0)
    rows = {row[0]: row[1] for row in evaluate.table_rows(result)}
    (name,) = [one for one in rows if one.endswith(" of LAVAD")]
    assert rows[name] == pytest.approx(0.8028)
    assert "80.28" in evaluate.text_table(result)


def test_one_video_without_detections_leaves_no_event_metrics():
    """None is not (): of one annotated video nothing is known, so nothing is said of any."""
    whole = [
        video("a", 40, ((10, 20),), [0.1, 0.9, 0.8, 0.2]),
        video("b", 40, ((10, 20),), [0.1, 0.9, 0.8, 0.2]),
        video("n", 30, (), [0.0, 0.7, 0.1]),
        video("m", 30, (), [0.0, 0.2, 0.1]),
    ]
    found = evaluate.evaluate(whole, tau=0.5, resamples=0)["metrics"]
    assert found["event_map"]["value"] is not None
    for index in (0, 2):
        videos = list(whole)
        videos[index] = replace(videos[index], detected=None)
        metrics = evaluate.evaluate(videos, tau=0.5, resamples=0)["metrics"]
        assert metrics.get("event_map", {"value": None})["value"] is None
