"""Events out to annotation tools, read back by these tools' own code, and corrections back in."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction

import pytest
from viewer_study import Example, write_study

from hhvad.artifacts import probe
from hhvad.cli import main
from hhvad.errors import AnnotationError
from hhvad.files import read_json, read_tsv, write_json
from hhvad.media.time import FrameTimes
from hhvad.viewer import exports, label_studio

VIDEOS = [
    Example("gate-1", 300, [(96, 156, 0.9), (204, 300, 1.0)]),
    Example("gate-2", 300, []),
    Example("gate-3", 300, [(24, 60, 1.0)], description="A <b>van</b> & more."),
]


@pytest.fixture
def made(tmp_path):
    return write_study(tmp_path, VIDEOS, ("headhunt",), videos=False)


@pytest.fixture
def export(made, tmp_path):
    path, results = made

    def run(to):
        out = tmp_path / to
        command = ["export-events", "--to", to, "--sheet", str(path), "--results", str(results)]
        assert main([*command, "--method", "headhunt", "--out", str(out)]) == 0
        return out

    return run


def annotated(out, **corrected):
    """The export of Label Studio in which one person submitted these ranges of videos."""
    tasks = read_json(out / "tasks.json")
    for task in tasks:
        ranges = corrected.get(task["data"]["hhvad_video"].replace("-", "_"))
        given = [
            {"type": "timelinelabels", "value": {"ranges": [span], "timelinelabels": ["anomaly"]}}
            for span in ranges or []
        ]
        task["annotations"] = [] if ranges is None else [{"result": given, "was_cancelled": False}]
    path = out / "export.json"
    write_json(path, tasks)
    return path


def test_label_studio_takes_the_tasks(export):
    out = export("label-studio")
    (first, second, _) = tasks = read_json(out / "tasks.json")
    assert [task["data"]["hhvad_video"] for task in tasks] == ["gate-1", "gate-2", "gate-3"]
    regions = first["predictions"][0]["result"]
    assert [region["value"]["ranges"] for region in regions] == [
        [{"start": 97, "end": 156}],
        [{"start": 205, "end": 300}],
    ]
    assert second["predictions"][0]["result"] == []
    interface = pytest.importorskip("label_studio_sdk.label_interface")
    objects = pytest.importorskip("label_studio_sdk.label_interface.objects")
    found = interface.LabelInterface((out / "interface.xml").read_text())
    (control,), (video,) = found.controls, found.objects
    assert (control.tag, control.name, control.to_name) == ("TimelineLabels", "events", ["video"])
    assert control.labels == ["anomaly"]
    assert (video.tag, video.value, video.attr["frameRate"]) == ("Video", "$video", "$fps")
    assert {"video", "fps"} < set(first["data"])
    for task in tasks:
        for prediction in task["predictions"]:
            read = objects.PredictionValue(**prediction)
            assert (read.model_version, read.score) == ("headhunt", prediction["score"])
            assert read.result == prediction["result"]
            for region in prediction["result"]:
                assert (region["from_name"], region["to_name"]) == (control.name, video.name)


def test_webvtt_is_read_by_its_package(export):
    out = export("webvtt")
    webvtt = pytest.importorskip("webvtt")
    found = {path.stem: webvtt.read(str(path)).captions for path in out.iterdir()}
    seconds = read_json(out.parent / "results/study/events/headhunt/gate-1.json")["events"]
    assert [cue.start_in_seconds for cue in found["gate-1"]] == [
        int(event["start_seconds"]) for event in seconds
    ]
    assert found["gate-2"] == []
    assert found["gate-3"][0].raw_text.startswith("anomaly 0.")
    assert "<b>" not in found["gate-3"][0].raw_text


def test_hours_minutes_and_milliseconds():
    assert exports._clock(3723.0996) == "01:02:03.100"
    assert exports._clock(59.9996) == "00:01:00.000"


def test_fiftyone_has_its_documented_form(export):
    """FiftyOneTemporalDetectionDataset of its user guide; frames from 1, the last one included."""
    out = export("fiftyone")
    content = read_json(out / "labels.json")
    assert content["classes"] is None
    assert [one["support"] for one in content["labels"]["gate-1"]] == [[97, 156], [205, 300]]
    one = content["labels"]["gate-3"][0]
    assert one["label"] == "anomaly"
    assert 0.5 < one["confidence"] <= 1
    assert content["labels"]["gate-2"] == []
    assert set(read_json(out / "data.json")) == set(content["labels"])


def run_import(made, path, *more):
    command = ["import-annotations", str(path), "--from", "label-studio", "--sheet", str(made[0])]
    return main([*command, "--results", str(made[1]), *more])


def test_what_nobody_corrects_comes_back_as_it_went_out(made, export):
    out = export("label-studio")
    tasks = read_json(out / "tasks.json")
    said = {
        task["data"]["hhvad_video"].replace("-", "_"): [
            region["value"]["ranges"][0] for region in task["predictions"][0]["result"]
        ]
        for task in tasks
    }
    assert run_import(made, annotated(out, **said)) == 0
    rows = {row["video"]: row for row in read_tsv(made[0])}
    assert [rows[f"gate-{n}"]["label"] for n in (1, 2, 3)] == ["anomaly", "normal", "anomaly"]
    assert rows["gate-1"]["events"] == "96-156;204-300"
    assert {row["split"] for row in rows.values()} == {"validation"}


def test_corrections_and_what_is_left_as_it_is(made, export, capsys):
    out = export("label-studio")
    spans = [{"start": 1, "end": 50}, {"start": 40, "end": 60}]
    path = annotated(out, gate_1=spans, gate_2=None, gate_3=[])
    before = made[0].read_text()
    assert run_import(made, path, "--dry-run") == 0
    assert made[0].read_text() == before
    assert run_import(made, path, "--split", "calibration") == 0
    rows = {row["video"]: row for row in read_tsv(made[0])}
    assert (rows["gate-1"]["split"], rows["gate-1"]["events"]) == ("calibration", "0-60")
    assert (rows["gate-2"]["split"], rows["gate-2"]["label"]) == ("test", "")
    assert rows["gate-3"]["label"] == "normal"
    assert "gate-2: left as it is: no submitted annotation" in capsys.readouterr().out
    tasks = json.loads(path.read_text())
    tasks[0]["annotations"] *= 2
    assert label_studio.read(write(path, tasks), probe_of(made))["gate-1"].startswith("2 annot")


def write(path, tasks):
    write_json(path, tasks)
    return path


def probe_of(made):
    return lambda video: probe.read(made[1] / "probe" / f"{video}.json")


def test_frames_at_changing_distances_go_through_seconds(made):
    info = probe_of(made)("gate-1")
    steps = "1*100 3*200"  # twenty-fifths of a second
    uneven = replace(
        info, fps=25.0, times=FrameTimes(300, Fraction(25), Fraction(0), Fraction(1, 25), steps)
    )
    assert label_studio._range(uneven, 50, 110) == {"start": 51, "end": 130}
    given = {
        "result": [{"type": "timelinelabels", "value": {"ranges": [{"start": 51, "end": 130}]}}]
    }
    assert label_studio._events(given, uneven, 25.0, "") == [(50, 110)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tasks: {"tasks": tasks}, "not a list of tasks"),
        (lambda tasks: [{"data": {}}], "not as export-events wrote it"),
        (lambda tasks: [*tasks, tasks[0]], "another task"),
    ],
)
def test_what_is_no_export_is_refused(made, export, change, message):
    path = annotated(export("label-studio"), gate_1=[])
    write_json(path, change(read_json(path)))
    with pytest.raises(AnnotationError, match=message):
        label_studio.read(path, probe_of(made))


def test_a_range_outside_of_the_video_is_refused(made, export, capsys):
    path = annotated(export("label-studio"), gate_1=[{"start": 900, "end": 950}])
    assert run_import(made, path) == 2
    assert "range 900-950 holds no frame" in capsys.readouterr().err
