"""The sample sheet: what it means, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from probes import make_probe

from hhvad import sheet
from hhvad.errors import SheetError
from hhvad.files import write_tsv
from hhvad.records import Interval, Video

HEADER = "video\tpath\tsplit\tlabel\tcategory\tevents\n"
GOOD = "a\ta.mp4\ttest\tanomaly\tfire\t10-20;30-40\n"


def write(folder: Path, text: str) -> Path:
    path = folder / "videos.tsv"
    path.write_text(text)
    return path


def test_the_longest_id(tmp_path):
    assert sheet.read(write(tmp_path, HEADER + "a" * 200 + GOOD[1:]))[0].video == "a" * 200


def test_a_row_is_a_video(tmp_path):
    path = write(tmp_path, HEADER + GOOD + "b\tb.mp4\ttest\tnormal\t\t\nc\tc.mp4\ttest\t\t\t\n")
    events = (Interval(10, 20), Interval(30, 40))
    assert sheet.read(path) == [
        Video("a", "a.mp4", "test", "anomaly", "fire", events),
        Video("b", "b.mp4", "test", "normal", "", ()),
        Video("c", "c.mp4", "test", None, "", None),
    ]


def test_no_final_newline_and_windows_line_ends(tmp_path):
    path = tmp_path / "videos.tsv"
    path.write_bytes((HEADER + GOOD.rstrip("\n")).replace("\n", "\r\n").encode())
    assert [v.video for v in sheet.read(path)] == ["a"]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", ["column 'video' is absent"]),
        (HEADER, ["no videos"]),
        ("video\tpath\n", ["column 'split' is absent"]),
        (HEADER + "a\ta.mp4\ttest\n", ["line 2"]),
        (HEADER.replace("events", "events\tnew") + "a\tb\ttest\t\t\t\t\n", ["'new'", "unknown"]),
        (HEADER + GOOD + GOOD, ["'a'", "more than once"]),
        (HEADER + GOOD + "A" + GOOD[1:], ["'A'", "more than once"]),
        (HEADER + "a b\ta.mp4\ttest\t\t\t\n", ["'a b'", "'a_b'"]),
        (HEADER + "../a\ta.mp4\ttest\t\t\t\n", ["'../a'", "would do"]),
        (HEADER + "a" * 201 + "\ta.mp4\ttest\t\t\t\n", ["an id has"]),
        (HEADER + "-a\ta.mp4\ttest\t\t\t\n", ["'-a'", "'a'"]),
        (HEADER + "a\t\ttest\t\t\t\n", ["path is empty"]),
        (HEADER + "a\ta.mp4\ttrain\t\t\t\n", ["2 (video a)", "split is 'train'", "calibration"]),
        (HEADER + "a\ta.mp4\ttest\tbad\t\t\n", ["label is 'bad'"]),
        (HEADER + "a\ta.mp4\tcalibration\t\t\t\n", ["label is empty"]),
        (HEADER + "a\ta.mp4\ttest\tnormal\t\t1-2\n", ["events is '1-2'", "normal"]),
        (HEADER + GOOD.replace("10-20", "20-10"), ["'20-10'", "ends before"]),
        (HEADER + GOOD.replace("10-20", "10-10"), ["'10-10'"]),
        (HEADER + GOOD.replace("10-20", "10-35"), ["'30-40'", "overlaps"]),
        (HEADER + GOOD.replace("10-20", "1s-2s"), ["'30-40'", "mixed"]),
        (HEADER + GOOD.replace("10-20", "1.5-2.5"), ["'1.5-2.5'", "whole"]),
        (HEADER + GOOD.replace("10-20", "-5-20"), ["'-5-20'"]),
        (HEADER + GOOD.replace("10-20", "nan-20"), ["'nan-20'"]),
    ],
)  # fmt: skip
def test_a_bad_sheet_is_refused_by_name(tmp_path, text, parts):
    path = write(tmp_path, text)
    with pytest.raises(SheetError) as caught:
        sheet.read(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    for part in parts:
        assert part in message


def test_an_absent_or_binary_sheet(tmp_path):
    with pytest.raises(SheetError, match="no such file"):
        sheet.read(tmp_path / "none.tsv")
    (tmp_path / "b.tsv").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(SheetError, match="cannot be read as text"):
        sheet.read(tmp_path / "b.tsv")


@pytest.mark.parametrize("name", ["v=S-7rRLrxnVQ__#1_label_B4-0-0", "Abuse028_x264", "a.b.c"])
def test_names_of_the_datasets_are_ids(name):
    sheet.check_id(name, "sheet")


def test_seconds_become_frames():
    video = Video("a", "a.mp4", "test", "anomaly", "", sheet.parse_events("1.5s-3s"))
    assert sheet.event_frames(video, make_probe(100, 29.97)) == [(45, 90)]


def test_an_event_past_the_end_names_the_video_the_event_and_the_frames():
    video = Video("a", "a.mp4", "test", "anomaly", "", sheet.parse_events("10-101"))
    with pytest.raises(SheetError, match=r"video a: event 10-101 .* has 100 frames"):
        sheet.event_frames(video, make_probe(100, 25))


@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(1, 10**4)), max_size=22))
def test_events_survive_writing_and_reading(gaps):
    events, at = [], 0
    for gap, length in gaps:
        events.append(Interval(at + gap, at + gap + length))
        at += gap + length
    assert sheet.parse_events(sheet.format_events(events)) == tuple(events)


def test_labels_in_any_case_and_empty_columns_at_the_right(tmp_path):
    """As spreadsheets and people write them."""
    header = HEADER.rstrip("\n") + "\t\t\n"
    rows = "a\ta.mp4\ttest\tAnomaly\tfire\t10-20\t\t\nb\tb c.mp4\ttest\tNORMAL\t\t\t\t\n"
    found = sheet.read(write(tmp_path, header + rows))
    assert [video.label for video in found] == ["anomaly", "normal"]
    assert found[0].events == (Interval(10, 20),)
    assert found[1].path == "b c.mp4"
    with pytest.raises(SheetError, match="line 2 has not 6 columns"):
        sheet.read(write(tmp_path, header + rows.replace("10-20\t\t", "10-20\t\tmore")))


@pytest.mark.parametrize(("separator", "name"), [(",", "commas"), (";", "semicolons")])
def test_a_sheet_that_is_separated_otherwise_is_told_how_to_be_saved(tmp_path, separator, name):
    path = write(tmp_path, (HEADER + GOOD).replace("\t", separator))
    with pytest.raises(SheetError, match=f"separated by {name}; save it as tab-separated"):
        sheet.read(path)


@pytest.mark.parametrize("text", ["1.5-20", "15-20.5"])
def test_frames_are_whole(text):
    with pytest.raises(SheetError, match="frames are whole; for seconds add s"):
        sheet.parse_events(text)


def test_an_event_may_end_with_the_last_frame():
    video = Video("a", "a.mp4", "test", "anomaly", "", (Interval(10, 50),))
    assert sheet.event_frames(video, make_probe(50, 25)) == [(10, 50)]
    with pytest.raises(SheetError, match="10-50, but the video has 49"):
        sheet.event_frames(video, make_probe(49, 25))


def test_a_path_may_hold_blanks(tmp_path):
    row = ("v", " my videos/a b.mp4 ", "test", "normal", "", "")
    write_tsv(tmp_path / "v.tsv", sheet.COLUMNS, [row])
    assert sheet.read(tmp_path / "v.tsv")[0].path == "my videos/a b.mp4"
