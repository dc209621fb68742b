"""The demo's videos: what is drawn, what is written, and what the sheet says of it."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from probes import make_probe

from hhvad.cli import main
from hhvad.demo import lessons
from hhvad.demo.encode import encode
from hhvad.demo.plan import FRAME_RATES, SIZES, make_scene, scenes, videos
from hhvad.demo.scenes import (
    ANOMALY_KINDS,
    NORMAL_KINDS,
    PLACES,
    RECURRING_KIND,
    RECURRING_SECONDS,
    UNSEEN_KIND,
    Happening,
    Scene,
    place,
    render,
)
from hhvad.sheet import event_frames

ROOT = Path(__file__).resolve().parents[2]


def scene(fps: float = 25.0, *, kind: str = "collision", frames: int = 12) -> Scene:
    return Scene(5, 96, 72, fps, frames, ("walking", "traffic"), (Happening(kind, 4, 9),))


def test_a_scene_is_the_same_pixels_every_time_and_in_every_selection():
    whole = np.stack(list(render(scene())))
    assert whole.dtype == np.uint8
    assert whole.shape == (12, 72, 96, 3)
    np.testing.assert_array_equal(whole[[0, 5, 11]], np.stack(list(render(scene(), [0, 5, 11]))))
    assert not np.array_equal(whole[0], next(render(replace(scene(), seed=6))))


@pytest.mark.parametrize("kind", ANOMALY_KINDS)
def test_an_anomaly_begins_and_ends_on_its_frames(kind):
    with_it = np.stack(list(render(scene(kind=kind))))
    without = np.stack(list(render(replace(scene(), happenings=()))))
    differs = (with_it != without).any(axis=(1, 2, 3))
    assert not differs[:4].any()
    assert not differs[9:].any()
    assert differs[4:9].all()


@pytest.mark.parametrize("kind", NORMAL_KINDS[:-1])
def test_ordinary_life_moves(kind):
    one = Scene(3, 96, 72, 25.0, 200, (kind,))
    empty = replace(one, kinds=("quiet",))
    wanted = list(range(0, 200, 20))
    pairs = zip(render(one, wanted), render(empty, wanted), strict=True)
    seen = [np.abs(a.astype(int) - b).max() > 30 for a, b in pairs]
    assert any(seen)


def test_the_sweeper_passes_once_a_minute():
    one = Scene(3, 96, 72, 2.0, 240, (RECURRING_KIND,))
    pairs = zip(render(one), render(replace(one, kinds=("quiet",))), strict=True)
    seen = [index / 2 for index, (a, b) in enumerate(pairs) if (a != b).any()]
    first, end = RECURRING_SECONDS
    assert seen
    assert all(first <= second % 60 < end for second in seen)
    assert {second // 60 for second in seen} == {0, 1}


def test_scenes_of_one_camera_share_street_and_light():
    one = Scene(3, 96, 72, 25.0, 1, ("quiet",), street=8, light=0.5)
    picture, other = (next(render(replace(one, seed=seed))).astype(int) for seed in (3, 4))
    assert np.abs(picture - other).mean() < 8  # noise
    assert np.abs(picture - next(render(replace(one, street=9)))).mean() > 8
    bright = next(render(replace(one, light=1.0)))
    assert picture.mean() == pytest.approx(0.5 * bright.mean(), rel=0.02)


@pytest.mark.parametrize("fps", FRAME_RATES)
def test_a_file_has_exactly_the_frames_rate_and_size(fps, tmp_path):
    path = tmp_path / "a.mp4"
    encode(scene(fps), path)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264"
        assert stream.average_rate == Fraction(fps).limit_denominator(1001)
        pictures = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    drawn = np.stack(list(render(scene(fps))))
    assert np.stack(pictures).shape == drawn.shape
    assert np.abs(np.stack(pictures).astype(int) - drawn).mean() < 12


def test_a_file_has_the_same_bytes_every_time(tmp_path):
    for name in "ab":
        encode(scene(), tmp_path / f"{name}.mp4")
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_plan(seed):
    planned = scenes(seed)
    assert planned == scenes(seed)
    rows = {row.video: row for row in videos(seed)}
    assert list(rows) == list(planned)
    counts = Counter((row.split, row.label) for row in rows.values())
    assert counts == {
        ("calibration", "normal"): 8,
        ("calibration", "anomaly"): 8,
        ("validation", "normal"): 4,
        ("validation", "anomaly"): 4,
        ("test", "normal"): 8,
        ("test", "anomaly"): 8,
    }
    for name, (split, one) in planned.items():
        assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._=#-]*", name)
        assert 9.9 <= one.n_frames / one.fps <= 90
        assert (one.width, one.height) in SIZES
        assert one.width % 2 == 0
        assert one.height % 2 == 0
        end = 0
        for happening in one.happenings:
            assert end <= happening.start < happening.end <= one.n_frames
            assert happening.kind in ANOMALY_KINDS
            assert split == "test" or happening.kind != UNSEEN_KIND
            end = happening.end
        events = event_frames(rows[name], make_probe(one.n_frames, one.fps))
        assert list(events) == [(h.start, h.end) for h in one.happenings]
    test = [h.kind for split, one in planned.values() if split == "test" for h in one.happenings]
    assert UNSEEN_KIND in test
    assert {one.fps for _, one in planned.values()} == set(FRAME_RATES)
    assert {len(one.happenings) for _, one in planned.values()} == {0, 1, 2}
    assert max(one.n_frames / one.fps for _, one in planned.values()) > 80


def test_enough_kinds():
    assert len(NORMAL_KINDS) >= 6
    assert len(ANOMALY_KINDS) >= 8
    assert {*NORMAL_KINDS, *ANOMALY_KINDS} - {UNSEEN_KIND} == set(lessons.PHRASES)


def test_the_shipped_sheet_is_that_of_seed_0(tmp_path):
    out = tmp_path / "videos.tsv"
    assert main(["make-demo-sheet", "--out", str(out)]) == 0
    assert out.read_text() == (ROOT / "config" / "videos.tsv").read_text()


def test_make_demo_video_knows_its_ids(tmp_path, capsys):
    wrong = ["make-demo-video", "--video", "nothing", "--out", str(tmp_path / "a.mp4")]
    assert main(wrong) == 2
    assert "calibration-01-normal" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_lessons_never_show_the_unseen_kind_and_tell_the_truth():
    for index in range(60):
        one = lessons.lesson(0, index)
        again = lessons.lesson(0, index)
        assert (one.scene, one.seen) == (again.scene, again.seen)
        np.testing.assert_array_equal(one.wanted, again.wanted)
        kinds = {h.kind for h in one.scene.happenings}
        assert UNSEEN_KIND not in kinds
        marks = lessons.shown(one)
        assert marks.shape == (lessons.FRAMES, len(lessons.SHOWN))
        for frame, row in zip(one.wanted, marks, strict=True):
            active = [
                (h.kind, place(one.scene, number))
                for number, h in enumerate(one.scene.happenings)
                if h.start <= frame < h.end
            ]
            named = {n for n, mark in zip(lessons.SHOWN, row, strict=True) if mark}
            assert named & set(ANOMALY_KINDS) == {kind for kind, _ in active}
            assert named & set(PLACES) == {where for _, where in active}
            assert named & set(NORMAL_KINDS) == set(one.scene.kinds)
        asked = dict(lessons.questions(one, np.random.default_rng(index)))
        what = next(asked[q] for q in lessons.WHAT if q in asked)
        alarm = next(asked[q] for q in lessons.ABNORMAL if q in asked)
        assert (what.split(":")[0] == "normal") == (alarm == "no") == (one.seen is None)
        if one.seen is not None:
            assert what.startswith(one.scene.happenings[one.seen].kind)


def test_a_quiet_scene_can_be_made():
    found = [make_scene(np.random.default_rng(seed), None) for seed in range(40)]
    assert any(one.kinds == ("quiet",) for one in found)
    assert not any(one.happenings for one in found)
