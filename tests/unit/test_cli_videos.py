"""probe-video, sample-frames, add-videos, as a user types them."""

from __future__ import annotations

import json
import os
from fractions import Fraction
from pathlib import Path

import av
import damaged
import numpy as np
import pytest
from numbered import numbered_picture, read_number, write_numbered
from PIL import Image

from hhvad.artifacts import hdf5 as artifacts
from hhvad.artifacts.probe import read as read_probe
from hhvad.artifacts.scores import write as write_scores
from hhvad.cli import main
from hhvad.files import read_json, read_tsv, write_json
from hhvad.localization.locator import Locator
from hhvad.media import probe as video
from hhvad.sheet import COLUMNS, read

SIZE = (96, 128)


PROBE = ("--video", "a", "--timeout", 60)


def run(*words) -> int:
    return main([str(word) for word in words])


@pytest.fixture
def probed(tmp_path):
    """A numbered video of 100 frames at 25 fps, and its probe."""
    path, out = write_numbered(tmp_path / "a.mp4", 100, 25), tmp_path / "a.json"
    assert run("probe-video", *PROBE, "--path", path, "--out", out) == 0
    return path, out


def sample(probed, out, *words) -> int:
    path, probe = probed
    given = ("sample-frames", "--video", "a", "--path", path, "--probe", probe)
    flags = ("--frames-per-segment", 16, "--segment-length", 48, "--threads", 2, "--timeout", 60)
    return run(*given, *flags, "--size", *SIZE, "--out", out, *words)


def test_probe(probed):
    found = json.loads(probed[1].read_text())
    assert (found["video"], found["frames"], found["fps_fraction"]) == ("a", 100, "25/1")
    assert "path" not in found  # the file may move; what it is does not


def test_the_frames_of_each_segment_are_those_that_the_method_names(probed, tmp_path):
    out = tmp_path / "frames.h5"
    assert sample(probed, out, "--view", "segments", "--frames-per-segment", "4") == 0
    found = artifacts.read(out, "frames")
    assert found.arrays["segments"].tolist() == [[0, 48], [48, 96], [96, 100]]
    frames = found.arrays["frames"]
    assert frames.shape == (3, 4, *SIZE, 3)
    shown = [[read_number(frame) for frame in segment] for segment in frames]
    assert shown == found.arrays["indices"].tolist()
    assert shown == [[6, 18, 30, 42], [54, 66, 78, 90], [96, 97, 98, 99]]


def test_the_frames_of_the_whole_video(probed, tmp_path):
    out = tmp_path / "frames.h5"
    assert sample(probed, out, "--view", "video", "--frames-per-segment", "5") == 0
    frames = artifacts.read(out, "frames").arrays["frames"]
    assert [read_number(frame) for frame in frames[0]] == [10, 30, 50, 70, 90]


def test_frames_are_resized_once_as_pillow_does(probed, tmp_path):
    out, small = tmp_path / "frames.h5", tmp_path / "small.h5"
    assert sample(probed, out, "--view", "video", "--frames-per-segment", "3") == 0
    assert (
        sample(probed, small, "--view", "video", "--frames-per-segment", "3", "--size", "56", "70")
        == 0
    )
    large, frames = (artifacts.read(file, "frames").arrays["frames"] for file in (out, small))
    for before, after in zip(large[0], frames[0], strict=True):
        wanted = Image.fromarray(before).resize((70, 56), Image.Resampling.BICUBIC)
        assert np.abs(after.astype(int) - np.asarray(wanted)).max() <= 2


def test_same_video_same_bytes(probed, tmp_path):
    outs = [tmp_path / "1.h5", tmp_path / "2.h5"]
    for out, threads in zip(outs, ("1", "3"), strict=True):
        assert sample(probed, out, "--view", "segments", "--threads", threads) == 0
    assert outs[0].read_bytes() == outs[1].read_bytes()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--view", "all"], "view is 'all'; it is one of video"),
        (["--view", "video", "--frames-per-segment", "0"], "'0' is not a whole number from 1"),
        (["--view", "video", "--size", "0", "5"], "'0' is not a whole number"),
        (["--view", "video", "--timeout", "nan"], "'nan' is not a number of seconds"),
        (["--view", "video", "--path", "nowhere.mp4"], "nowhere.mp4: cannot be opened"),
        (["--view", "video", "--probe", "nowhere.json"], "nowhere.json"),
    ],
)
def test_bad_arguments(probed, tmp_path, capsys, words, message):
    out = tmp_path / "frames.h5"
    try:
        code = sample(probed, out, *words)
    except SystemExit as stop:
        code = stop.code
    assert code == 2
    err = capsys.readouterr().err
    assert message in err
    assert len(err.strip().splitlines()) == 1
    assert not out.exists()


def test_no_file_is_left_by_a_video_that_breaks_in_the_middle(probed, tmp_path, capsys):
    path, probe = probed
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 400] = bytes(400)
    path.write_bytes(data)
    assert run("probe-video", *PROBE, "--path", path, "--out", tmp_path / "b.json") == 2
    assert "damaged" in capsys.readouterr().err
    # As a probe of a long video does, which counts packets.
    long = read_json(probe) | {"fingerprint": video.fingerprint(path), "decoder": "pyav"}
    write_json(probe, long)
    assert sample(probed, tmp_path / "frames.h5", "--view", "segments") == 2
    assert "damaged" in capsys.readouterr().err
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a.json", "a.mp4"]


def test_a_foreign_probe_is_refused(probed, tmp_path, capsys):
    probed[1].write_text('{"fps": 30}')
    assert sample(probed, tmp_path / "frames.h5", "--view", "video") == 2
    assert "a.json: not a probe of this hhvad" in capsys.readouterr().err


def test_an_event_past_the_end_is_named_by_the_probe(probed, tmp_path, capsys):
    given = ("probe-video", *PROBE, "--path", probed[0], "--out", tmp_path / "b.json")
    assert run(*given, "--events", "90-120") == 2
    assert "100" in capsys.readouterr().err
    assert run(*given, "--events", "3s-4s") == 0


def add(*words) -> int:
    return run("add-videos", "--settle", "0", *words)


def test_add_videos(tmp_path, capsys):
    folder = tmp_path / "new"
    (folder / "deep").mkdir(parents=True)
    write_numbered(folder / "gate 1.mp4", 4)
    write_numbered(folder / "deep/gate_1.MP4".replace("MP4", "mkv"), 4)
    (folder / "notes.txt").write_text("no video")
    (folder / ".gate 1.mp4").write_text("part")
    sheet = tmp_path / "sheet.tsv"
    assert add(folder, "--sheet", sheet) == 0
    out = capsys.readouterr().out
    assert "2 videos added, 0 were there already" in out
    assert "2 other files passed over: 1 .mp4, 1 .txt" in out
    assert list(read_tsv(sheet)[0]) == list(COLUMNS)
    videos = read(sheet)
    assert [video.video for video in videos] == ["deep-gate_1", "gate_1"]
    assert all((v.split, v.label, v.events) == ("test", None, None) for v in videos)
    before = sheet.read_bytes()
    assert add(folder, "--sheet", sheet) == 0
    assert "0 videos added, 2 were there already" in capsys.readouterr().out
    assert sheet.read_bytes() == before


def test_add_videos_keeps_the_columns_and_rows_that_are_there(tmp_path):
    sheet = tmp_path / "sheet.tsv"
    sheet.write_text(
        "path\tvideo\tsplit\tlabel\tevents\tcategory\nx.mp4\tx\ttest\tanomaly\t3-5\tfall"
    )
    file = write_numbered(tmp_path / "x.mp4", 4)
    assert add(file, "--sheet", sheet) == 0
    lines = sheet.read_text().splitlines()
    assert lines[1] == "x.mp4\tx\ttest\tanomaly\t3-5\tfall"
    assert lines[2] == f"{file}\tx-2\ttest\t\t\t"


def test_add_videos_names_what_is_no_video_and_adds_the_rest(tmp_path, capsys):
    write_numbered(tmp_path / "good.mp4", 4)
    (tmp_path / "bad.mp4").write_text("text")
    sheet = tmp_path / "sheet.tsv"
    assert add(tmp_path, "--sheet", sheet) == 2
    err = capsys.readouterr().err
    assert "1 files are no videos" in err
    assert "bad.mp4" in err
    assert [video.video for video in read(sheet)] == ["good"]


def test_add_videos_refuses_what_is_not_there(tmp_path, capsys):
    sheet = tmp_path / "sheet.tsv"
    assert add(tmp_path / "nowhere", "--sheet", sheet) == 2
    assert "there is no such file or folder" in capsys.readouterr().err
    assert not sheet.exists()


def same_files(sheet: Path) -> list[str]:
    """The paths of a sheet, each of a file that is there."""
    paths = [video.path for video in read(sheet)]
    assert all(Path(path).is_file() for path in paths), paths
    return paths


FOLDERS = [("make-sheet", "folder"), ("add-videos",)]


def from_folder(command, sheet: Path, folder: str | Path = ".") -> int:
    flag = "--out" if "folder" in command else "--sheet"
    return run(*command, folder, flag, sheet, "--settle", "0")


@pytest.mark.parametrize("command", FOLDERS)
def test_any_name_gets_an_id_of_its_own(tmp_path, monkeypatch, command):
    names = ("x.avi", "x.mp4", "X.mkv", "前门.mp4", "后门.mkv", "été.mov", "-a.mp4", "a/b.mp4")
    names += ("a-b.mp4", '"q.mp4', " blank.mp4", "it's.mp4", ".hidden.mp4", "y" * 240 + ".mp4")
    folder = tmp_path / "in"
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        write_numbered(folder / name, 3)
    monkeypatch.chdir(folder)
    sheet = tmp_path / "sheet.tsv"
    assert from_folder(command, sheet) == 0
    ids = [video.video for video in read(sheet)]
    assert len({one.lower() for one in ids}) == len(ids) == len(names) - 1  # one is hidden
    assert {"X", "x-2", "x-3", "video", "video-2", "ete", "a-b", "a-b-2"} <= set(ids)
    found = {Path(path).name for path in same_files(sheet)}
    assert found == {Path(name).name for name in names if not name.startswith(".")}
    before = sheet.read_bytes()
    assert from_folder(command, sheet) == 0
    assert from_folder(command, sheet, folder) == 0  # the same files by another path
    assert sheet.read_bytes() == before


@pytest.mark.parametrize("command", FOLDERS)
def test_links_to_one_file_are_one_row(tmp_path, command):
    folder = tmp_path / "in"
    folder.mkdir()
    write_numbered(folder / "a.mp4", 3)
    (folder / "b.mp4").symlink_to("a.mp4")
    (folder / "c.mp4").hardlink_to(folder / "a.mp4")
    (tmp_path / "again").symlink_to(folder)
    sheet = tmp_path / "sheet.tsv"
    assert from_folder(command, sheet, folder) == 0
    assert from_folder(command, sheet, tmp_path / "again") == 0
    assert len(read(sheet)) == 1


@pytest.mark.parametrize("command", FOLDERS)
@pytest.mark.parametrize("name", [b"gate\xff.mp4", b"a{b}.mp4", b"a\nb.mp4", b"a\tb.mp4"])
def test_a_name_that_no_row_can_hold_costs_no_other_row(tmp_path, capsys, command, name):
    folder = tmp_path / "in"
    folder.mkdir()
    good = write_numbered(folder / "z.mp4", 3)
    (folder / os.fsdecode(name)).write_bytes(good.read_bytes())
    sheet = tmp_path / "sheet.tsv"
    assert from_folder(command, sheet, folder) == 2
    notes, last = capsys.readouterr().err.splitlines()
    assert notes.startswith("hhvad: note: ")
    assert "1 files" in last
    assert [video.video for video in read(sheet)] == ["z"]


@pytest.mark.parametrize("command", FOLDERS)
def test_a_file_that_is_no_video_or_damaged_costs_no_other_row(tmp_path, capsys, command):
    folder = tmp_path / "in"
    folder.mkdir()
    write_numbered(folder / "z.mp4", 3)
    (folder / "text.mp4").write_bytes(b"no video")
    damaged.lose(damaged.write(folder / "a.ts", count=60), lambda place: 0.3 < place < 0.31)
    sheet = tmp_path / "sheet.tsv"
    flag = "--out" if "folder" in command else "--sheet"
    given = (*command, folder, flag, sheet, "--settle", "0")
    assert run(*given) == 2
    *notes, last = capsys.readouterr().err.splitlines()
    assert [Path(note.split(": ")[2]).name for note in notes] == ["a.ts", "text.mp4"]
    assert "2 files" in last
    assert [video.video for video in read(sheet)] == ["z"]
    assert run(*given, "--on-damage", "skip-to-keyframe") == 2
    assert [video.video for video in read(sheet)] == ["z", "a"]


def test_the_config_says_whether_a_damaged_video_gets_a_row(tmp_path):
    path = damaged.write(tmp_path / "a.ts", count=60)
    damaged.lose(path, lambda place: 0.3 < place < 0.31)
    config = tmp_path / "c.yaml"
    config.write_text(f"videos: {tmp_path}/s.tsv\nsampling: {{on_damage: skip-to-keyframe}}\n")
    assert add(path, "--config", config) == 0
    assert [video.video for video in read(tmp_path / "s.tsv")] == ["a"]


@pytest.mark.parametrize("command", FOLDERS)
def test_a_file_that_is_still_written_is_left_for_the_next_call(
    tmp_path, capsys, command, monkeypatch
):
    good = write_numbered(tmp_path / "a.mp4", 3)
    growing = tmp_path / "b.mp4"
    growing.write_bytes(good.read_bytes()[:900])
    monkeypatch.setattr("time.sleep", lambda seconds: growing.write_bytes(good.read_bytes()))
    sheet = tmp_path / "sheet.tsv"
    flag = "--out" if "folder" in command else "--sheet"
    given = (*command, tmp_path, flag, sheet)
    assert run(*given, "--settle", "5") == 0
    assert "b.mp4: is still being written" in capsys.readouterr().out
    assert [video.video for video in read(sheet)] == ["a"]
    assert run(*given, "--settle", "0") == 0
    assert [video.video for video in read(sheet)] == ["a", "b"]


@pytest.mark.parametrize(
    "name", ["a.dav", "a.flv", "a.mts", "a.m2ts", "a.asf", "a.3gp", "a.vob", "a.h264", "a.h265"]
)
def test_files_of_recorders_are_found(tmp_path, name):
    codec, container = {
        ".dav": ("mpeg2video", "mpeg"), ".vob": ("mpeg2video", "vob"), ".h265": ("libx265", "hevc"),
        ".asf": ("msmpeg4", "asf"), ".mts": ("libx264", "mpegts"), ".m2ts": ("libx264", "mpegts"),
    }.get(Path(name).suffix, ("libx264", None))  # fmt: skip
    with av.open(str(tmp_path / name), "w", format=container) as file:
        stream = file.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 128, 96, "yuv420p"
        for number in range(12):
            picture = numbered_picture(number, 96, 128)
            file.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        file.mux(stream.encode())
    sheet = tmp_path / "sheet.tsv"
    assert add(tmp_path, "--sheet", sheet) == 0
    assert len(read(sheet)) == 1


def thumbnails(path, probe, out, *words) -> int:
    given = ("sample-thumbnails", "--video", "a", "--path", path, "--probe", probe, "--out", out)
    return run(*given, "--count", 8, "--width", 160, "--timeout", 60, *words)


def test_thumbnails_are_exact_frames_at_their_times(probed, tmp_path):
    out = tmp_path / "t.h5"
    assert thumbnails(*probed, out) == 0
    found = artifacts.read(out, "thumbnails")
    assert found["pictures"].shape == (8, 120, 160, 3)
    assert [read_number(p) for p in found["pictures"]] == found["frames"].tolist()
    assert found["frames"].tolist() == [6, 18, 31, 43, 56, 68, 81, 93]
    assert found["seconds"].tolist() == [n / 25 for n in found["frames"]]
    again = tmp_path / "again.h5"
    assert thumbnails(*probed, again) == 0
    assert again.read_bytes() == out.read_bytes()


@pytest.mark.parametrize(
    ("options", "height"),
    [
        ({"quarter_turns": 1}, 120),
        ({"mirrored": True}, 120),
        ({"pixel_aspect": Fraction(4, 3)}, 90),
        ({"pixel_aspect": Fraction(4, 3), "quarter_turns": 3}, 160),
        ({"ticks": [0, 10, 20, 500, 510, 1000]}, 120),
        ({"ticks": [900, 910, 920, 930, 940, 950], "sound": True}, 120),
        ({"ticks": [-60, -50, -40, -30, -20, -10]}, 120),
    ],
    ids=str,
)
def test_thumbnails_are_upright_and_in_the_shape_that_is_shown(tmp_path, options, height):
    name = "a.mp4" if {"quarter_turns", "mirrored"} & set(options) else "a.mkv"
    path = write_numbered(tmp_path / name, 6, 30, **options)
    probe, out = tmp_path / "a.json", tmp_path / "t.h5"
    assert run("probe-video", *PROBE, "--path", path, "--out", probe) == 0
    assert thumbnails(path, probe, out) == 0
    found = artifacts.read(out, "thumbnails")
    assert found["pictures"].shape == (6, height, 160, 3)
    assert [read_number(p) for p in found["pictures"]] == list(range(6))
    info = read_probe(probe)
    assert found["seconds"].tolist() == [info.seconds(n) for n in range(6)]


@pytest.mark.parametrize("harm", ["gone", "replaced", "broken"])
def test_thumbnails_that_cannot_be_had_fail_nothing(probed, tmp_path, capsys, harm):
    path, probe = probed
    if harm == "gone":
        path.unlink()
    elif harm == "replaced":
        write_numbered(path, 50, 25)
    else:
        data = bytearray(path.read_bytes())
        data[len(data) // 2 : len(data) // 2 + 400] = bytes(400)
        path.write_bytes(data)
        write_json(probe, read_json(probe) | {"fingerprint": video.fingerprint(path)})
    out = tmp_path / "t.h5"
    assert thumbnails(path, probe, out) == 0
    found = artifacts.read(out, "thumbnails")
    assert len(found["pictures"]) == len(found["seconds"]) < 8
    assert bool(len(found["frames"])) == (harm == "broken")
    assert [read_number(p) for p in found["pictures"]] == found["frames"].tolist()
    assert "a.mp4: only" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["a.avi", "a.mkv", "a.h264", "a.mov"])
def test_thumbnails_of_any_file_that_can_be_sampled(tmp_path, name):
    path = write_numbered(tmp_path / name, 3, 30)
    probe, out = tmp_path / "a.json", tmp_path / "t.h5"
    assert run("probe-video", *PROBE, "--path", path, "--out", probe) == 0
    assert thumbnails(path, probe, out) == 0
    assert artifacts.read(out, "thumbnails")["frames"].tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("words", "started"),
    [
        (["--started", "2026-11-25T14:00:00+00:00"], "2026-11-25T14:00:00+00:00"),
        (["--started", "2026-11-25T15:00:00+01:00"], "2026-11-25T14:00:00+00:00"),
        ([], None),
    ],
)
def test_the_start_of_a_recording_is_carried_to_its_events(tmp_path, words, started):
    path = write_numbered(tmp_path / "gate_20261125_140000.mp4", 96, 24)
    probe = tmp_path / "a.json"
    assert run("probe-video", *PROBE, "--path", path, "--out", probe) == 0
    scores = tmp_path / "scores.tsv"
    write_scores(scores, np.array([[0, 48], [48, 96]]), np.array([0.0, 1.0]))
    write_json(tmp_path / "locator.json", Locator(0.1, 0.5).to_json())
    events = tmp_path / "events.json"
    given = ("--video", "a", "--method", "m", "--scores", scores, "--probe", probe)
    given += ("--locator", tmp_path / "locator.json", "--out-scores", tmp_path / "s.tsv")
    given += ("--out-events", tmp_path / "e.tsv", "--out-json", events)
    assert run("localize-events", *given, *words) == 0
    (event,) = read_json(events)["events"]
    assert read_json(events).get("started") == started
    assert (event["start_seconds"], event["end_seconds"]) == (2, 4)
    assert event.get("started_at") == (started and "2026-11-25T14:00:02+00:00")
