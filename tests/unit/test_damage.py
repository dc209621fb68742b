"""`on_damage: skip-to-keyframe`: damaged stretches have no frames and no score; the rest counts."""

from __future__ import annotations

import random
import shlex
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import damaged
import numpy as np
import pytest
from damaged import KEY
from numbered import read_number
from probes import make_probe, write_probe

from hhvad.artifacts import hdf5, probe, ranges, scores
from hhvad.cli import main
from hhvad.describe import focus, plan
from hhvad.errors import AnnotationError, ArtifactError, DataError, VideoError
from hhvad.files import read_json, write_json
from hhvad.localization.alarms import Shape
from hhvad.localization.locator import Locator
from hhvad.media import damage, decode, samplers
from hhvad.media import probe as video
from hhvad.media.damage import Skipped
from hhvad.methods.lavad import refine, windows
from hhvad.records import Event

SKIP = probe.SKIP
UNIT = Fraction(1, 90_000)


def shown(path: Path, info: video.Probe) -> list[int]:
    """What the undamaged frames show."""
    frames = decode.pictures(str(path), info, info.undamaged().tolist())
    return [read_number(picture) for picture in frames]


# --- files ----------------------------------------------------------------------------------------


def burst(place: float) -> bool:
    return 0.4 < place < 0.52


def rain(place: float, seed: int = 3) -> bool:
    return random.Random(f"{place} {seed}").random() < 0.01


def single(place: float) -> bool:
    return 0.3 < place < 0.303


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return damaged.write(tmp_path_factory.mktemp("whole") / "a.ts")


@pytest.mark.parametrize("codec", ["libx264", "libx265", "mpeg2video"])
def test_what_is_left_of_a_transport_stream_is_right(tmp_path, codec):
    path = damaged.write(tmp_path / "a.ts", codec)
    content = path.read_bytes()
    for is_lost in (burst, rain, single):
        path.write_bytes(content)
        damaged.lose(path, is_lost)
        with pytest.raises(VideoError, match=r"a\.ts: .*damaged"):
            video.probe(path)
        info = video.probe(path, on_damage=SKIP)
        assert (info.frames, info.fps, info.times.is_constant) == (200, 25, True)
        assert 0 < len(info.undamaged()) < 200
        assert shown(path, info) == info.undamaged().tolist()
        # Each stretch ends where the next key frame is, or with the video.
        assert all(end % KEY == 0 or end >= 199 or codec == "mpeg2video" for _, end in info.damaged)
        assert video.Probe.from_json(info.to_json("a")) == info


@pytest.mark.parametrize(
    ("name", "codec", "share", "count"),
    [
        ("a.mkv", "mpeg4", 0.5, 16),
        ("a.mp4", "mpeg4", 0.4, 256),
        ("a.mp4", "libx264", 0.6, 256),
        ("a.mov", "libx264", 0.3, 16),
    ],
)
def test_what_the_decoder_notices_in_other_containers(tmp_path, name, codec, share, count):
    path = damaged.write(tmp_path / name, codec, 150)
    assert video.probe(path, on_damage=SKIP) == video.probe(path)
    damaged.blank(path, share, count)
    info = video.probe(path, on_damage=SKIP)
    assert info.frames == 150
    assert 0 < 150 - len(info.undamaged()) <= 2 * KEY
    assert shown(path, info) == info.undamaged().tolist()


def test_a_file_that_starts_behind_its_key_frame(tmp_path, whole):
    path = tmp_path / "a.ts"
    path.write_bytes(whole.read_bytes())
    damaged.lose(path, lambda place: place < 0.004)
    info = video.probe(path, on_damage=SKIP)
    lost = 200 - info.frames  # nothing tells of the first ones
    assert info.damaged == ((0, KEY - lost),)
    assert shown(path, info) == list(range(KEY, 200))


def test_a_file_that_ends_in_the_middle_of_a_frame(tmp_path, whole):
    path = tmp_path / "a.ts"
    data = whole.read_bytes()
    path.write_bytes(data[: len(data) * 2 // 3 // 188 * 188])
    damaged.lose(path, single)
    info = video.probe(path, on_damage=SKIP)
    assert len(info.damaged) in (1, 2)
    # Of the last frames, those that come later in the file than they are shown are not known.
    found = shown(path, info)
    assert found == sorted(set(found))
    assert info.times.all_seconds(info.undamaged()) == pytest.approx(np.array(found) / 25)


def test_recordings_that_are_appended_to_each_other_are_not_damaged(tmp_path, whole):
    path = tmp_path / "a.ts"
    path.write_bytes(2 * whole.read_bytes())
    info = video.probe(path, on_damage=SKIP)
    assert (info, info.damaged) == (video.probe(path), ())
    damaged.lose(path, single)  # of the first part
    info = video.probe(path, on_damage=SKIP)
    assert info.frames == 400
    assert shown(path, info) == (info.undamaged() % 200).tolist()


def test_nothing_left_and_a_container_without_times(tmp_path, whole):
    path = tmp_path / "a.ts"
    path.write_bytes(whole.read_bytes())
    damaged.lose(path, lambda place: int(place * 4000) % 2 == 0)
    with pytest.raises(VideoError, match="none of its frames is undamaged"):
        video.probe(path, on_damage=SKIP)
    avi = damaged.write(tmp_path / "a.avi", "mpeg4", 60)
    assert video.probe(avi, on_damage=SKIP) == video.probe(avi)


# --- views ----------------------------------------------------------------------------------------


def test_the_views_of_a_damaged_file(tmp_path, whole):
    path = tmp_path / "a.ts"
    path.write_bytes(whole.read_bytes())
    damaged.lose(path, single)
    info = video.probe(path, on_damage=SKIP)
    ((start, end),) = info.damaged
    given = {"video": "a", "frames_per_segment": 4, "segment_length": 10, "size": (288, 384)}
    for view in ("segments", "grid", "video"):
        video.sample_frames(path, info, tmp_path / "f.h5", view=view, **given)
        file = hdf5.read(tmp_path / "f.h5", "frames")
        numbers = [read_number(one) for one in file["frames"].reshape(-1, 288, 384, 3)]
        assert numbers == file["indices"].ravel().tolist()
        assert not set(numbers) & set(range(start, end))
        if view == "video":
            good = info.undamaged()
            assert file["segments"].tolist() == [[0, 200]]
            assert numbers == good[samplers.uniform(0, len(good), 4)].tolist()
            continue
        starts = [s for s in range(0, 200, 10) if s + 10 <= start or s >= end]
        assert file["segments"].tolist() == [[s, s + 10] for s in starts]
    streamed = video.stream_segments(
        path, info, frames_per_segment=4, segment_length=10, size=(288, 384)
    )
    assert sum(1 for _ in streamed) == len(starts)
    video.sample_thumbnails(path, info, tmp_path / "t.h5", video="a", count=50, width=384)
    small = hdf5.read(tmp_path / "t.h5", "thumbnails")
    assert len(small["frames"]) == 50
    assert [read_number(one) for one in small["pictures"]] == small["frames"].tolist()
    with pytest.raises(VideoError, match=f"frame {start} of it is damaged"):
        next(decode.pictures(str(path), info, [0, start]))
    other = replace(info, damaged=((start + 1, end),))
    with pytest.raises(VideoError, match="probe it again"):
        video.sample_frames(path, other, tmp_path / "g.h5", view="grid", **given)


def test_segments_that_touch_damage_are_left_out():
    cuts, indices = samplers.plan(100, "segments", 2, 20, [(39, 41), (95, 100)])
    assert cuts.tolist() == [[0, 20], [60, 80]]
    assert indices.tolist() == [[5, 15], [65, 75]]
    with pytest.raises(DataError, match="no segment of the video is without damage"):
        samplers.plan(100, "segments", 2, 60, [(10, 11), (99, 100)])
    cuts, indices = samplers.plan(10, "video", 4, 1, [(0, 6)])
    assert (cuts.tolist(), indices.tolist()) == ([[0, 10]], [[6, 7, 8, 9]])


def test_windows_and_their_segments():
    cut = windows.windows(60, 10, stride=10, seconds=4, samples=9, on="grid", damaged=[(25, 31)])
    assert cut.centres.tolist() == [0, 10, 40, 50]
    assert [one.tolist() for one in cut.frames] == [[0, 10], [0, 10], [40, 50], [40, 50]]
    assert refine.segments(60, 10, [(25, 31)])[:, 0].tolist() == cut.centres.tolist()
    exact = windows.windows(
        60, 10, stride=10, seconds=4, samples=99, on="exact", damaged=[(25, 31)]
    )
    assert exact.frames[1].tolist() == list(range(0, 25))
    assert exact.frames[2].tolist() == [*range(20, 25), *range(31, 60)]


def test_frames_in_focus_have_a_score():
    bounds = [(0, 20), (60, 80)]
    for span, count in (((0, 80), 2), ((0, 80), 9), ((10, 70), 1)):
        found = focus.choose(bounds, [0.1, 0.9], span, count, stride=4)
        assert all(f < 20 or f >= 60 for f in found.frames.tolist())
        assert found.scores.tolist() == [0.1 if f < 20 else 0.9 for f in found.frames.tolist()]
    assert plan.merged([(0, 20), (22, 30)], float, 5) == [(0, 30)]
    assert plan.merged([(0, 20), (22, 30)], float, 5, [(20, 22)]) == [(0, 20), (22, 30)]


# --- the lost frames ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("found", "stamps", "lost"),
    [
        ([0, 10, 20, Skipped(1, 30, 30), 60, 70], range(0, 80, 10), [(3, 6)]),
        ([0, 10, Skipped(9, 11, 12), 20, 30], [0, 10, 20, 30], []),
        ([Skipped(1, 5, 15), 35, 45], [5, 15, 25, 35, 45], [(0, 3)]),
        ([0, 10, Skipped(1, 40, 40), Skipped(1, 20, 60)], range(0, 70, 10), [(2, 7)]),
        # The clock steps back, or an hour on: as many frames as packets.
        ([90, 100, Skipped(2, None, 3), 0, 10], [90, 100, 110, 120, 0, 10], [(2, 4)]),
        ([0, 10, Skipped(1, 20, 20), 4 * 10**8], [0, 10, 20, 4 * 10**8], [(2, 3)]),
        ([0, Skipped(1, None, None), 9000], [0, 3000, 6000, 9000], [(1, 3)]),
    ],
)
def test_lost_frames_are_at_the_usual_distance(found, stamps, lost):
    filled = damage.fill(found, UNIT, Fraction(30))
    assert filled.stamps == list(stamps)
    assert filled.damaged == lost


@pytest.mark.parametrize(
    ("spans", "count"),
    [([[5, 3]], 9), ([[0, 9]], 9), ([[3, 10]], 9), ([[4, 5], [1, 2]], 9), ([[-1, 2]], 9), ([1], 9)],
)
def test_a_probe_whose_damage_is_none(tmp_path, spans, count):
    path = tmp_path / "a.json"
    write_probe(path, count)
    write_json(path, {**read_json(path), "damaged": spans})
    with pytest.raises(ArtifactError, match=r"a\.json: not a probe"):
        probe.read(path)


def test_which_frames_are_damaged(tmp_path):
    path = tmp_path / "a.json"
    assert not probe.has_damage(path)
    write_probe(path, 50, 25, video="damaged")
    assert not probe.has_damage(path)
    write_probe(path, 50, 25, damaged=((0, 5), (10, 50)))
    info = probe.read(path)
    assert probe.has_damage(path)
    assert info.undamaged().tolist() == [5, 6, 7, 8, 9]
    assert info.damaged_seconds() == [[0, 0.2], [0.4, 2]]
    assert [ranges.touches(*span, info.damaged) for span in ((4, 5), (5, 10), (9, 11))] == [
        True,
        False,
        True,
    ]


# --- scores, events and what is shown of them -----------------------------------------------------


@pytest.fixture
def judged(tmp_path) -> list[str]:
    """localize-events on a video of 100 frames of which 43 to 57 are damaged."""
    write_probe(tmp_path / "v.json", 100, 10, damaged=((43, 57),))
    write_json(tmp_path / "l.json", Locator(0.5, 0.5).to_json())
    words = f"--video v --method m --scores {tmp_path}/v.tsv --locator {tmp_path}/l.json"
    words += (
        f" --probe {tmp_path}/v.json --out-scores {tmp_path}/s.tsv --out-events {tmp_path}/e.tsv"
    )
    return shlex.split(f"localize-events {words} --out-json {tmp_path}/e.json")


def write_scores(tmp_path: Path, starts: list[int]) -> None:
    bounds = np.array([[s, s + 10] for s in starts])
    scores.write(tmp_path / "v.tsv", bounds, np.full(len(starts), 0.9))


def test_an_event_ends_where_the_damage_starts(judged, tmp_path):
    write_scores(tmp_path, [*range(0, 40, 10), *range(60, 100, 10)])
    assert main(judged) == 0
    found = read_json(tmp_path / "e.json")
    assert [(e["start_frame"], e["end_frame"]) for e in found["events"]] == [(0, 40), (60, 100)]
    assert found["damaged"] == [[4.3, 5.7]]


@pytest.mark.parametrize(
    ("starts", "named"),
    [
        ([*range(0, 100, 10)], "40-50"),  # a score that nobody saw a frame for
        ([0, 20, 30, *range(60, 100, 10)], "10-20"),  # a gap that is no damage
        ([*range(0, 40, 10), 60, 70, 80], "end at frame 90"),
    ],
)
def test_scores_that_do_not_fit_the_damage(judged, tmp_path, capsys, starts, named):
    write_scores(tmp_path, starts)
    assert main(judged) == 2
    assert named in capsys.readouterr().err
    segments = scores.Segments(np.array([[s, s + 10] for s in starts]), np.full(len(starts), 0.9))
    with pytest.raises(AnnotationError):
        scores.check("v", segments, 100, damaged=[(43, 57)])


def test_events_are_neither_joined_nor_padded_over_damage():
    info = make_probe(10, 1, damaged=((4, 5),))
    bounds, values = [[i, i + 1] for i in range(10) if i != 4], [0, 0, 0, 1, 1, 0, 0, 0, 0]
    assert Shape(merge_gap=3).events(values, 0.5, bounds, info) == [Event(3, 4, 1), Event(5, 6, 1)]
    assert Shape(pad=2).events(values, 0.5, bounds, info) == [Event(1, 4, 1), Event(5, 8, 1)]


def test_detect_says_what_is_damaged(tmp_path, capsys, whole):
    path = tmp_path / "a.ts"
    path.write_bytes(whole.read_bytes())
    damaged.lose(path, single)
    words = ["detect", str(path), "--device=cpu", "--threads=1", f"--out={tmp_path / 'out'}"]
    assert main(words) == 2
    assert main([*words, "--on-damage=skip-to-keyframe"]) == 0
    assert "2.9 s  damaged, not judged" in capsys.readouterr().out
    rows = scores.read(tmp_path / "out/scores/detect/a.tsv").bounds.tolist()
    assert rows == [[0, 48], [96, 144], [144, 192], [192, 200]]
    page = (tmp_path / "out/data/videos/a.js").read_text()
    assert '"damaged":[[' in page
