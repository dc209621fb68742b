"""Pieces of videos as files: copied bit by bit from key frames, else encoded; the same frames."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from cameras import frames_of, write_video

from hhvad.cli import main
from hhvad.datasets.hivau_items import Item, write_items
from hhvad.errors import VideoError
from hhvad.files import write_json
from hhvad.media.cut import Piece, cut, from_key_frame
from hhvad.media.probe import probe


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 frames, a key frame every 10."""
    path = write_video(tmp_path_factory.mktemp("cut") / "v.mp4", 60)
    write_json(path.with_suffix(".json"), probe(path).to_json("v"))
    return path


def nearest(frames: list[bytes], of: list[bytes]) -> list[int]:
    """Which of the frames each one looks most like."""
    known = np.array([np.frombuffer(one, np.uint8) for one in of], float)
    return [
        int(np.abs(known - np.frombuffer(one, np.uint8)).sum(axis=1).argmin()) for one in frames
    ]


def test_a_piece_from_a_key_frame_is_copied(video: Path, tmp_path: Path):
    pieces = [Piece(10, 25, tmp_path / "a.mp4"), Piece(50, 60, tmp_path / "b.mkv")]
    assert cut(video, pieces, 60) == [True, True]
    whole = frames_of(video)
    assert frames_of(pieces[0].path) == whole[10:25]
    assert frames_of(pieces[1].path) == whole[50:60]
    info = probe(pieces[0].path)
    assert (info.frames, info.fps) == (15, 25)


def test_any_other_is_encoded_and_shows_the_same_frames(video: Path, tmp_path: Path):
    pieces = [Piece(3, 17, tmp_path / "a.mp4"), Piece(12, 30, tmp_path / "b.mp4")]
    assert cut(video, pieces, 60) == [False, False]
    whole = frames_of(video)
    assert nearest(frames_of(pieces[0].path), whole) == list(range(3, 17))
    assert nearest(frames_of(pieces[1].path), whole) == list(range(12, 30))
    assert probe(pieces[1].path).fps == 25


def test_frames_that_need_later_ones_are_encoded(tmp_path: Path):
    """With B frames of open groups, packets of a piece and of its neighbours are mixed."""
    path = tmp_path / "b.mp4"
    source = write_video(tmp_path / "s.mp4", 40)
    with av.open(str(source)) as given, av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
        stream.options = {"g": "10", "bf": "3", "x264-params": "open-gop=1"}
        for frame in given.decode(video=0):
            frame.pict_type = 0
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    pieces = [Piece(n, n + 9, tmp_path / f"{n}.mp4") for n in (0, 10, 11, 20)]
    cut(path, pieces, 40)
    whole = frames_of(path)
    for piece in pieces:
        assert nearest(frames_of(piece.path), whole) == list(range(piece.start, piece.end))


def test_from_the_key_frame_before(video: Path):
    assert from_key_frame(video, [(3, 8), (10, 12), (37, 60)], 60) == [(0, 8), (10, 12), (30, 60)]


@pytest.mark.parametrize("span", [(5, 5), (-1, 3), (50, 61)])
def test_what_is_not_in_the_video(span: tuple[int, int], video: Path, tmp_path: Path):
    with pytest.raises(VideoError, match="are not in its 60 frames"):
        cut(video, [Piece(*span, tmp_path / "a.mp4")], 60)
    assert not list(tmp_path.iterdir())


def test_no_video(tmp_path: Path):
    (tmp_path / "x.mp4").write_bytes(b"nothing")
    with pytest.raises(VideoError, match="is not a video that can be read"):
        cut(tmp_path / "x.mp4", [Piece(0, 1, tmp_path / "a.mp4")], 1)


# --- the command ----------------------------------------------------------------------------------


def words(video: Path, out: Path, *more: str) -> list[str]:
    given = [f"--path={video}", f"--probe={video.with_suffix('.json')}", f"--out={out}"]
    return ["cut-clips", "--video=v", *given, *more]


def test_events(video: Path, tmp_path: Path, capsys):
    events = [
        {"start_frame": 10, "end_frame": 20, "peak_score": 0.9},
        {"start_frame": 33, "end_frame": 41, "peak_score": 0.8},
    ]
    write_json(tmp_path / "e.json", {"video": "v", "events": events})
    assert main(words(video, tmp_path / "out", f"--events={tmp_path / 'e.json'}")) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"{tmp_path}/out/v_000010-000020.mp4\tcopied",
        f"{tmp_path}/out/v_000033-000041.mp4\tencoded",
    ]
    more = [f"--events={tmp_path / 'e.json'}", "--margin=0.2", "--whole-groups"]
    assert main(words(video, tmp_path / "more", *more)) == 0
    assert sorted(path.name for path in (tmp_path / "more").iterdir()) == [
        "v_000000-000025.mp4",
        "v_000020-000046.mp4",
    ]
    assert "encoded" not in capsys.readouterr().out


def test_ranges_of_hivau(video: Path, tmp_path: Path):
    items = [
        Item("1", "event", "caption", "v", 20, 30, True, "What?", "That."),
        Item("2", "event", "judgement", "v", 20, 30, True, "Is it?", "Yes."),
        Item("3", "event", "caption", "other", 0, 9, True, "What?", "That."),
    ]
    write_items(tmp_path / "i.tsv", items)
    assert main(words(video, tmp_path / "out", f"--items={tmp_path / 'i.tsv'}")) == 0
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["v_000020-000030.mp4"]


def test_another_video_than_the_probes(video: Path, tmp_path: Path, capsys):
    other = write_video(tmp_path / "o.mp4", 20)
    write_json(tmp_path / "e.json", {"video": "v", "events": []})
    given = [f"--path={other}", f"--probe={video.with_suffix('.json')}", f"--out={tmp_path}"]
    assert main(["cut-clips", "--video=v", *given, f"--events={tmp_path / 'e.json'}"]) == 2
    assert "is not the video of" in capsys.readouterr().err
