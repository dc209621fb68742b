"""The viewer's files, the events of a study as tables, and marks that become rows of a sheet."""

from __future__ import annotations

import csv
import json
import shlex
import subprocess
from fractions import Fraction
from importlib.resources import files
from shutil import which

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from viewer_study import Example, set_probe, write_study

from hhvad import sheet
from hhvad.artifacts import hdf5
from hhvad.cli import main
from hhvad.errors import AnnotationError, ArtifactError
from hhvad.files import read_json, read_tsv, write_json, write_text, write_tsv
from hhvad.media.time import FrameTimes
from hhvad.records import Interval, Video
from hhvad.viewer import marks, page, study
from hhvad.viewer.study import Curve, ViewerEvent

EVENT = [
    Example("gate-1", 300, [(100, 160, 0.9)], "anomaly", category="Fire", annotated="96-150"),
    Example("gate-2", 300, [], "normal"),
    Example("gate-3", 300, [(24, 60, 1.0), (200, 260, 0.8)], description="A <b>van</b>\nstops."),
]


@pytest.fixture(autouse=True)
def commands(monkeypatch):
    if "thumbnails" not in hdf5.SCHEMA_VERSIONS:
        monkeypatch.setitem(hdf5.SCHEMA_VERSIONS, "thumbnails", 1)


@pytest.fixture
def made(tmp_path):
    return write_study(tmp_path, EVENT, ("headhunt", "motion"), videos=False)


def build(made, *extra, name="Yard"):
    path, results = made
    out = results / "viewer" / "index.html"
    words = ["build-viewer", "--sheet", str(path), "--results", str(results), "--study", name]
    words += ["--methods", "headhunt", "motion", "--video-root", str(path.parent)]
    assert main([*words, "--out", str(out), *extra]) == 0
    return out


def data(out, name):
    text = (out.parent / "data" / name).read_text(encoding="ascii")
    assert text.startswith("hhvadData(...[")
    return json.loads(text.removeprefix("hhvadData(...").removesuffix(")\n"))


def test_the_list_has_every_video_and_all_events_ranked(made):
    out = build(made)
    kind, _, listed = data(out, "study.js")
    assert kind == "study"
    assert [video["video"] for video in listed["videos"]] == ["gate-1", "gate-2", "gate-3"]
    assert [video["annotated"] for video in listed["videos"]] == [1, 0, None]
    assert [method["tau"] for method in listed["methods"]] == [0.5, 0.42]
    events = listed["events"]
    assert events["peak"] == sorted(events["peak"], reverse=True)
    assert len({len(column) for column in events.values()}) == 1
    expected = read_json(made[1] / "events/headhunt/gate-3.json")["events"]
    own = [i for i, (v, m) in enumerate(zip(events["video"], events["method"], strict=True))
           if (v, m) == (2, 0)]  # fmt: skip
    assert sorted(events["start_frame"][i] for i in own) == [e["start_frame"] for e in expected]
    assert {events["text"][i] for i in own} == {"A <b>van</b> stops."}


def test_a_video_has_its_curves_source_and_annotation(made):
    kind, name, details = data(build(made), "videos/gate-1.js")
    assert (kind, name) == ("video", "gate-1")
    assert details["source"] == "../../../videos/gate-1.mp4"
    assert details["annotated"] == [[96 / 25, 6.0]]
    times, raw, smoothed = details["curves"]["headhunt"]
    rows = read_tsv(made[1] / "localization/headhunt/gate-1.tsv")
    assert len(times) == len(raw) == len(smoothed) == len(rows) + 1
    assert times[-1] == 300 / 25
    assert smoothed[3] == pytest.approx(float(rows[3]["smoothed"]), abs=5e-5)


def test_the_same_study_is_the_same_bytes_and_only_what_changed_is_written(made):
    out = build(made)
    before = {p: (p.read_bytes(), p.stat().st_ino) for p in (out.parent / "data").rglob("*.js")}
    build(made)
    assert {p: (p.read_bytes(), p.stat().st_ino) for p in before} == before


def test_the_page_is_small_and_holds_no_address(made):
    text = build(made).read_text(encoding="utf-8")
    assert len(text.encode()) < 200_000
    assert "[[" not in text.split("<script>")[0]
    for word in ("http://", "https://", "//cdn"):
        # uPlot's licence line and the name spaces of SVG are no requests.
        assert word not in text.replace("https://github.com/leeoniya/uPlot", "")


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", "</title><img src=x>", "a & b"])
def test_the_name_of_a_study_is_text(made, name):
    text = build(made, name=name).read_text(encoding="utf-8")
    assert text.count("<script>") == 2
    assert "<img src=x>" not in text


@given(st.text())
def test_a_data_file_is_ascii_and_ends_no_script(text):
    script = page._script("kind", {"text": text})
    assert script.isascii()
    assert "<" not in script
    body = script.removeprefix("hhvadData(...").removesuffix(")\n")
    assert json.loads(body) == ["kind", "", {"text": text}]


@given(st.text())
def test_plain_text_is_one_line_without_control_characters(text):
    found = study.plain(text)
    assert found == found.strip()
    assert not any(ord(char) < 32 or char in "\u202e\u200b\x7f" for char in found)
    assert study.plain(found) == found


def test_events_as_tables(made):
    out = build(made)
    rows = read_json(out.parent / "events.json")
    assert tuple(rows[0]) == page.EVENT_COLUMNS
    assert [row["rank"] for row in rows] == list(range(1, len(rows) + 1))
    with (out.parent / "events.csv").open(encoding="utf-8", newline="") as file:
        table = list(csv.DictReader(file))
    assert [{k: str(v) for k, v in row.items()} for row in rows] == table
    fire = next(row for row in rows if row["video"] == "gate-1")
    assert (fire["category"], fire["label"], fire["split"]) == ("Fire", "anomaly", "test")


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)"])
def test_no_cell_is_a_formula(text):
    assert page._cell(text) == f"'{text}"
    assert page._cell(-1.5) == -1.5


def test_ranking_is_total():
    def event(method, video, start, peak):
        return ViewerEvent(method, video, start, start + 1, 0.0, 1.0, "", peak, "")

    events = [event("b", "v", 0, 0.5), event("a", "w", 0, 0.5), event("a", "v", 9, 0.5),
              event("a", "v", 1, 0.5), event("b", "v", 5, 0.9)]  # fmt: skip
    found = [(e.method, e.video, e.start_frame) for e in study.ranked(events, ["a", "b"])]
    assert found == [("b", "v", 5), ("a", "v", 1), ("a", "v", 9), ("a", "w", 0), ("b", "v", 0)]


def test_a_gap_between_segments_is_a_gap_in_the_curve():
    bounds = np.array([[0.0, 1.0], [1.0, 2.0], [5.0, 6.0]])
    curve = Curve(bounds, np.array([0.1, 0.2, 0.3]), np.array([0.4, 0.5, 0.6]))
    assert page._steps(curve) == [
        [0.0, 1.0, 2.0, 5.0, 6.0],
        [0.1, 0.2, None, 0.3, 0.3],
        [0.4, 0.5, None, 0.6, 0.6],
    ]


@pytest.mark.parametrize(
    ("suffix", "codec", "told"),
    [(".mp4", "h264", None), (".MP4", "h264", None), (".webm", "vp9", None),
     (".avi", "h264", "h264 in .avi"), (".mp4", "mpeg4", "mpeg4 in .mp4"),
     ("", "h264", "h264 in a file without a suffix")],
)  # fmt: skip
def test_what_browsers_do_not_play_is_told(tmp_path, suffix, codec, told):
    made = write_study(
        tmp_path, [Example("v", 100, [], suffix=suffix)], ("headhunt",), videos=False
    )
    set_probe(made[1] / "probe/v.json", codec=codec)
    out = made[1] / "viewer/index.html"
    page.build(sheet.read(made[0]), results=made[1], study="s", methods=["headhunt"],
               video_root=tmp_path, out=out)  # fmt: skip
    details = data(out, "videos/v.js")[2]
    assert details.get("unplayable") == told


@pytest.mark.parametrize("path", ["a b.avi", "it's; rm -rf $HOME.avi", "-y.avi"])
def test_the_command_of_a_proxy_is_quoted(path):
    words = shlex.split(page.proxy_command(path))
    assert words[2].removeprefix("./") == path
    assert words[-1] == words[2] + ".proxy.mp4"
    assert not words[-1].startswith("-")


def test_paths_are_relative_and_quoted_even_when_the_sheet_has_an_absolute_one(tmp_path):
    made = write_study(tmp_path, [Example("v", 100, [])], ("headhunt",), videos=False)
    row = ("v", str(tmp_path / "films" / "100% #1?.mp4"), "test", "", "", "")
    write_tsv(made[0], sheet.COLUMNS, [row])
    out = made[1] / "viewer/index.html"
    page.build(sheet.read(made[0]), results=made[1], study="s", methods=["headhunt"],
               video_root=tmp_path, out=out)  # fmt: skip
    details = data(out, "videos/v.js")[2]
    assert details["source"] == "../../../films/100%25%20%231%3F.mp4"
    assert str(tmp_path) not in (out.parent / "data/videos/v.js").read_text()


def test_thumbnails_are_one_picture_of_tiles(made):
    out = build(made)
    listed = data(out, "study.js")[2]
    width, height, columns, count = listed["videos"][0]["sprite"]
    assert (width, height, columns, count) == (160, 90, 10, 24)
    with Image.open(out.parent / "data/thumbnails/gate-1.jpg") as picture:
        assert picture.size == (1600, 270)
    events = listed["events"]
    i = events["video"].index(0)
    seconds = data(out, "videos/gate-1.js")[2]["thumbnails"]
    middle = (events["start"][i] + events["end"][i]) / 2
    assert abs(seconds[events["tile"][i]] - middle) <= (seconds[1] - seconds[0]) / 2 + 0.01


def test_many_thumbnails_are_thinned_out(tmp_path):
    pictures = np.zeros((250, 9, 16, 3), np.uint8)
    seconds = np.arange(250.0)
    arrays = {"pictures": pictures, "frames": np.arange(250), "seconds": seconds}
    hdf5.write(tmp_path / "t.h5", "thumbnails", arrays, {})
    sprite = page.write_sprite(tmp_path / "t.h5", tmp_path / "t.jpg")
    assert sprite is not None
    assert (len(sprite.seconds), sprite.seconds[0], sprite.seconds[-1]) == (100, 0.0, 249.0)
    assert (sprite.width, sprite.height) == (16, 9)  # never enlarged


def test_a_mask_is_drawn_over_every_thumbnail(tmp_path):
    arrays = {"pictures": np.full((2, 20, 30, 3), 255, np.uint8), "frames": np.arange(2),
              "seconds": np.arange(2.0)}  # fmt: skip
    hdf5.write(tmp_path / "t.h5", "thumbnails", arrays, {})
    left = ((0.0, 0.0), (0.5, 0.0), (0.5, 1.0), (0.0, 1.0))
    page.write_sprite(tmp_path / "t.h5", tmp_path / "t.jpg", [left])
    sprite = np.asarray(Image.open(tmp_path / "t.jpg")).astype(int)
    for tile in (sprite[:, :30], sprite[:, 30:]):
        assert abs(tile[10, 7] - [156, 150, 141]).max() < 12  # faint: a quarter of it is left
        assert (tile[10, 25] > 245).all()


def test_thresholds_of_hours_are_steps(tmp_path):
    bounds = np.array([[0.0, 2.0], [2.0, 4.0], [4.0, 6.0], [6.0, 8.0]])
    curve = Curve(bounds, np.zeros(4), np.zeros(4))
    columns = ("segment", "start_frame", "end_frame", "score", "tau")
    for taus, steps in (([0.5] * 4, []), ([0.5, 0.5, 0.6, 0.5], [[0, 0.5], [4, 0.6], [6, 0.5]])):
        rows = [(i, 2 * i, 2 * i + 2, 0.0, tau) for i, tau in enumerate(taus)]
        write_tsv(tmp_path / "v.tsv", columns, rows)
        assert page.tau_steps(tmp_path / "v.tsv", curve) == steps


def test_why_an_event_is_no_alarm(tmp_path):
    event = {"start_frame": 0, "end_frame": 5, "start_seconds": 0, "end_seconds": 1}
    about = [
        {"ignored": 0, "suppressed": "gate-1 10-20", "cosine": 0.95, "description": "A van."},
        {"ignored": 1, "suppressed": "", "cosine": ""},
        {"description": "A van."},
    ]
    events = [event | {"peak_score": 1.0} | one for one in about]
    write_json(tmp_path / "events.json", {"events": events})
    found, _ = study.read_events(tmp_path / "events.json", "m", "v")
    why = "Suppressed: like the event marked false in gate-1 10-20 (similarity 0.95)."
    assert [(one.quiet, one.description) for one in found] == [
        (why, f"{why} A van."),
        ("Ignored: in the camera's ignored hours.",) * 2,
        ("", "A van."),
    ]


def test_the_wall_clock_of_an_event(tmp_path):
    path = tmp_path / "events.json"
    event = {"start_frame": 90, "end_frame": 95, "start_seconds": 3.6, "end_seconds": 3.8}
    at = {"started_at": "2026-11-25T23:00:01+00:00"}
    write_json(
        path, {"events": [event | at | {"peak_score": 1.0}], "started": "2026-11-25T22:59:58"}
    )
    (found,), started = study.read_events(path, "m", "v")
    assert (found.started_at, started) == (at["started_at"], "2026-11-25T22:59:58")
    write_json(path, {"events": [event | {"peak_score": 1.0}]})
    (found,), started = study.read_events(path, "m", "v")
    assert (found.started_at, started) == ("", None)


def _middle(times: FrameTimes, seconds: float, by: int) -> float:
    """Where stepFrame seeks to from a time; run by node."""
    script = files("hhvad.viewer").joinpath("viewer.js").read_text("utf-8")
    start = script.index("  function frameRuns")
    code = script[start : script.index("  function stepFrame")]
    call = f"frameMiddle(frameRuns({json.dumps(page._times(times))}), {seconds}, {by})"
    done = subprocess.run(
        ["node", "-e", f"{code}; console.log({call})"], capture_output=True, text=True, check=True
    )
    return float(done.stdout)


@pytest.mark.skipif(which("node") is None, reason="node is absent")
@pytest.mark.parametrize(
    "times",
    [
        FrameTimes(330, Fraction(25)),
        FrameTimes(330, Fraction(30000, 1001), Fraction(3, 2)),
        FrameTimes(330, Fraction(30), Fraction(0), Fraction(1, 15360), "512*300 5120*30"),
        FrameTimes(330, Fraction(30), Fraction(1, 2), Fraction(1, 1000), "33*29 10000 33*300"),
    ],
    ids=["25", "late", "vfr", "gap"],
)
def test_one_frame_on_or_back_is_one_frame_whatever_the_rate(times):
    for frame, by in ((0, 1), (0, -1), (28, 1), (29, 1), (30, -1), (299, 1), (300, -1), (329, 1)):
        wanted = min(max(frame + by, 0), 329)
        at = _middle(times, times.seconds(frame), by)
        assert times.seconds(wanted) < at < times.seconds(wanted + 1)


def test_metrics_have_what_is_there(made):
    results = made[1]
    write_json(results / "metrics/headhunt.json", {"metrics": {}, "per_video": {"gate-1": {}}})
    write_tsv(results / "experts/headhunt.tsv", ("layer", "head"), [(1, 2)])
    write_text(results / "figures/headhunt/rss.svg", "<svg onload='alert(1)'></svg>")
    found = data(build(made), "metrics.js")[2]["methods"]
    assert found["headhunt"]["result"] == {"metrics": {}}
    assert found["headhunt"]["experts"] == [{"layer": "1", "head": "2"}]
    assert found["headhunt"]["rss"].startswith("data:image/svg+xml;base64,")
    assert set(found["motion"]) == {"locator"}


def test_a_study_without_scores_and_damaged_files_are_named(made, capsys):
    sheet_path, results = made
    command = ["build-viewer", "--sheet", str(sheet_path), "--results", str(results)]
    command += ["--study", "s", "--video-root", ".", "--out", str(results / "v.html")]
    assert main([*command, "--methods", "other"]) == 2
    assert "locator/other.json: there is no such file" in capsys.readouterr().err
    write_json(results / "events/headhunt/gate-1.json", {"events": [{"start_frame": 1}]})
    assert main([*command, "--methods", "headhunt"]) == 2
    assert "events/headhunt/gate-1.json: not an events file" in capsys.readouterr().err
    with pytest.raises(ArtifactError, match="no video of the sheet has a file"):
        page.build([Video("x", "x.mp4", "test")], results=results, study="s",
                   methods=["headhunt"], video_root=sheet_path, out=results / "v.html")  # fmt: skip


# Marks.


def mark(video, start, end, verdict, method="headhunt"):
    return marks.Mark(video, method, start, end, verdict)


UNLABELLED = Video("v", "v.mp4", "test")


def decide(*given_marks, video=UNLABELLED, split="validation", **options):
    (decision,) = marks.decide([video], given_marks, split, **options)
    return decision


def test_a_video_of_false_alarms_is_normal():
    after = decide(mark("v", 10, 20, "false"), mark("v", 30, 40, "false")).after
    assert after == Video("v", "v.mp4", "validation", "normal", events=())


def test_true_events_of_all_methods_are_joined():
    after = decide(
        mark("v", 10, 20, "true"), mark("v", 15, 30, "true", "motion"), mark("v", 50, 60, "false")
    ).after
    assert after is not None
    assert (after.label, after.events) == ("anomaly", (Interval(10, 30),))


@pytest.mark.parametrize("verdict", ["unsure", ""])
def test_a_video_with_an_undecided_event_stays_as_it_is(verdict):
    found = decide(mark("v", 10, 20, "true"), mark("v", 30, 40, verdict))
    assert found.after is None
    assert found.reason == "1 of its 2 events are not decided"


def test_methods_that_contradict_each_other_change_nothing():
    found = decide(mark("v", 10, 20, "true"), mark("v", 15, 30, "false", "motion"))
    assert found.after is None
    assert "frames 15-30 (motion) are marked false" in found.reason


@pytest.mark.parametrize(
    "video",
    [Video("v", "v.mp4", "test", "normal", events=()),
     Video("v", "v.mp4", "calibration", "anomaly"),
     Video("v", "v.mp4", "test", "anomaly", events=(Interval(1, 2),))],
)  # fmt: skip
def test_a_row_that_says_something_changes_only_when_told(video):
    found = decide(mark("v", 10, 20, "true"), video=video)
    assert found.after is None
    assert "--replace" in found.reason
    told = decide(mark("v", 10, 20, "true"), video=video, replace_rows=True)
    assert told.after is not None
    assert told.after.events == (Interval(10, 20),)


def test_what_the_row_says_already_is_no_change():
    video = Video("v", "v.mp4", "validation", "anomaly", events=(Interval(10, 20),))
    assert decide(mark("v", 10, 20, "true"), video=video).reason == "it says so already"


def test_marks_of_another_study_are_refused():
    with pytest.raises(AnnotationError, match="video 'w' has marks but no row"):
        marks.decide([UNLABELLED], [mark("w", 1, 2, "true")], "validation")


@pytest.mark.parametrize(
    ("row", "message"),
    [(("v", "m", 1, 2, "maybe"), "mark is 'maybe'"), (("v", "m", 2, 2, "true"), "end after"),
     (("v", "m", -1, 2, "true"), "whole numbers"), (("v", "m", "x", 2, "true"), "whole numbers")],
)  # fmt: skip
def test_a_bad_line_of_marks_is_named(tmp_path, row, message):
    write_tsv(tmp_path / "m.tsv", marks.COLUMNS, [row])
    with pytest.raises(AnnotationError, match=message):
        marks.read(tmp_path / "m.tsv")


@pytest.fixture
def sheet_and_marks(tmp_path):
    rows = [
        ("a", "a.mp4", "test", "", "Fire", ""),
        ("b", "b.mp4", "test", "", "", ""),
        ("c", "c.mp4", "test", "normal", "", ""),
        ("d", "d.mp4", "calibration", "anomaly", "", "1s-2.5s"),
    ]
    write_tsv(tmp_path / "sheet.tsv", sheet.COLUMNS, rows)
    columns = ("video", "method", "start_frame", "end_frame", "start_seconds", "mark")
    given_marks = [
        ("a", "m", 10, 20, 0.4, "true"), ("a", "m", 40, 60, 1.6, "false"),
        ("b", "m", 5, 9, 0.2, "unsure"), ("c", "m", 5, 9, 0.2, "true"),
    ]  # fmt: skip
    write_tsv(tmp_path / "marks.tsv", columns, given_marks)
    return tmp_path / "sheet.tsv", tmp_path / "marks.tsv"


def test_add_marks_prints_each_change_and_leaves_the_rest(sheet_and_marks, capsys):
    path, given_marks = sheet_and_marks
    before = path.read_text()
    assert main(["add-marks", str(given_marks), "--sheet", str(path), "--dry-run"]) == 0
    assert path.read_text() == before
    assert "1 of 4 rows would change" in capsys.readouterr().out
    assert main(["add-marks", str(given_marks), "--sheet", str(path)]) == 0
    said = capsys.readouterr().out
    assert "a: test, no label -> validation, anomaly, events 10-20" in said
    assert "b: left as it is: 1 of its 1 events are not decided" in said
    assert "c: left as it is: its row says test, normal already" in said
    after = before.replace("a.mp4\ttest\t\tFire\t\n", "a.mp4\tvalidation\tanomaly\tFire\t10-20\n")
    assert path.read_text() == after
    assert [video.video for video in sheet.read(path)] == ["a", "b", "c", "d"]
