"""Frames and seconds: hand-computed tables, and properties that hold for any."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from probes import make_probe, write_probe

from hhvad.artifacts import probe
from hhvad.clock import start_in_name
from hhvad.errors import ArtifactError, ConfigError
from hhvad.files import read_json, write_json
from hhvad.media.time import FrameTimes, Gap
from hhvad.records import Video
from hhvad.sheet import event_frames, parse_events

MS = Fraction(1, 1000)
NTSC = Fraction(30000, 1001)


def motion_triggered() -> FrameTimes:
    """10 s at 30 frames a second, then 10 s at 3."""
    stamps = [*range(0, 300 * 20, 20), *range(6000, 6000 + 30 * 200, 200)]
    return FrameTimes.of(stamps, Fraction(1, 600), Fraction(30))


@pytest.mark.parametrize("rate", [Fraction(25), NTSC, Fraction(15, 2)])
def test_a_constant_rate_is_one_fraction(rate):
    unit = 1 / (rate * 512)
    times = FrameTimes.of(np.arange(100) * 512, unit, rate)
    assert times == FrameTimes(100, rate)
    for frame in (0, 1, 7, 99, 100, 1000):
        assert times.seconds(frame) == float(frame / rate)
        assert times.frame(frame / rate) == frame
    assert times.gaps == ()


@pytest.mark.parametrize("rate", [NTSC, Fraction(30), Fraction(60)])
def test_times_rounded_to_milliseconds_are_a_constant_rate(rate):
    for rounding in (round, int):
        stamps = [rounding(1000 * n / rate) for n in range(5000)]
        assert FrameTimes.of(stamps, MS, rate) == FrameTimes(5000, rate)


def test_a_rate_that_is_slightly_other_than_claimed_is_measured():
    stamps = np.arange(100_000) * 40  # 25 a second; 25.01 would be off by 1.6 s at the end
    assert FrameTimes.of(stamps, MS, Fraction(2501, 100)) == FrameTimes(100_000, Fraction(25))


def test_a_variable_rate_is_a_table():
    times = motion_triggered()
    assert times.steps == "20*300 200*30"
    assert [times.seconds(n) for n in (0, 30, 299, 300, 315, 330)] == [
        0, 1, 299 / 30, 10, 15, 20,
    ]  # fmt: skip
    assert [times.frame(s) for s in (0, 5, 9.99, 10, 10.1, 10.2, 15, 18, 20)] == [
        0, 150, 300, 300, 300, 301, 315, 324, 330,
    ]  # fmt: skip
    assert times.gaps == ()


def test_annotated_seconds_are_looked_up():
    info = make_probe(330, 30, motion_triggered())
    video = Video("a", "a.mp4", "test", "anomaly", "", parse_events("15s-18s"))
    assert event_frames(video, info) == [(315, 324)]


def test_a_time_behind_the_end_is_a_frame_behind_the_end():
    times = motion_triggered()
    assert (times.frame(21), times.frame(-1)) == (360, -30)
    assert (times.seconds(360), times.seconds(330)) == (21, 20)


def test_a_gap_belongs_to_the_frame_after_it():
    stamps = [*range(0, 1000, 100), *range(61_000, 62_000, 100)]
    times = FrameTimes.of(stamps, MS, Fraction(10))
    assert times.gaps == (Gap(10, 1.0, 61.0),)
    assert (times.seconds(10), times.until(10)) == (61.0, 1.0)
    assert (times.until(9), times.until(20)) == (0.9, 62.0)
    assert [times.frame(s) for s in (0.9, 0.96, 1.0, 30.0, 60.9, 61.04, 61.06)] == [
        9, 10, 10, 10, 10, 10, 11,
    ]  # fmt: skip


@pytest.mark.parametrize("step", [2000, 10_000])
def test_slow_pictures_are_no_gaps(step):
    fast_then_slow = [*range(0, 1000, 100), *range(1000, 1000 + 10 * step, step)]
    assert FrameTimes.of(fast_then_slow, MS, Fraction(10)).gaps == ()
    assert FrameTimes.of(np.arange(9) * step, MS, Fraction(1000, step)).gaps == ()


def test_a_clock_that_steps_back_goes_on_after_the_end_of_the_piece_before():
    one = np.arange(125) * 3600
    for other in (one, one + 700, one - 90_000):
        times = FrameTimes.of(np.append(one, other), Fraction(1, 90_000), Fraction(25))
        assert times == FrameTimes(250, Fraction(25))
    twice = FrameTimes.of([0, 4, 8, 0, 4, 8, 0, 6], Fraction(1, 100), Fraction(25))
    assert twice.all_seconds(range(8)).tolist() == [0, 0.04, 0.08, 0.12, 0.16, 0.2, 0.24, 0.3]


def test_a_late_start_is_kept():
    times = FrameTimes.of([0, 40, 80], MS, Fraction(25), start=Fraction(2))
    assert [times.seconds(n) for n in range(4)] == [2.0, 2.04, 2.08, 2.12]
    assert (times.frame(2.0), times.frame(2.08)) == (0, 2)


STEPS = st.lists(st.integers(1, 5000), min_size=1, max_size=60)


@given(STEPS, st.sampled_from([MS, Fraction(1, 90_000), Fraction(1001, 30_000)]))
def test_any_table_survives_json_and_finds_each_of_its_frames(steps, unit):
    stamps = np.append(0, np.cumsum(steps))
    times = FrameTimes.of(stamps, unit, 1 / (int(np.median(steps)) * unit))
    assert FrameTimes.from_json(times.to_json(), times.count) == times
    frames = np.arange(times.count + 1)
    seconds = times.all_seconds(frames)
    assert times.all_frames(seconds).tolist() == frames.tolist()
    assert [times.seconds(int(n)) for n in frames] == seconds.tolist()
    assert np.abs(seconds[:-1] - stamps * float(unit)).max() < max(0.0011, 1.01 * float(unit))
    assert (np.diff(seconds) >= 0).all()
    for gap in times.gaps:
        assert gap.start < gap.end == times.seconds(gap.frame)
        assert times.frame((gap.start + gap.end) / 2) == gap.frame


@given(STEPS, st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), max_size=5))
def test_time_between_frames_adds_up(steps, spans):
    times = FrameTimes.of(np.append(0, np.cumsum(steps)), MS, Fraction(25))
    wanted = sum(times.seconds(b) - times.seconds(a) for a, b in spans)
    assert times.between(spans) == pytest.approx(wanted, abs=1e-9)


def test_a_probe_file_keeps_the_times(tmp_path):
    info = write_probe(tmp_path / "a.json", 330, 30, times=motion_triggered())
    assert probe.read(tmp_path / "a.json") == info
    assert (info.seconds(315), info.frame(18.0)) == (15.0, 324)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema_version": 1}, "schema_version is 1, not 3"),
        ({"schema_version": None}, "schema_version is None"),
        ({"times": {"rate": "30"}}, "start is absent"),
        ({"times": {"rate": "0/0", "start": "0"}}, "Fraction"),
        ({"times": {"rate": "30", "start": "0", "steps": "20*329"}}, "not those of 330 frames"),
        ({"times": {"rate": "30", "start": "0", "steps": "x"}}, "not those of 330 frames"),
        ({"started": "yesterday"}, "yesterday"),
        ({"mirrored": 1}, "mirrored is 1"),
    ],
)
def test_a_probe_that_is_none_of_ours_is_refused_by_name(tmp_path, change, message):
    path = tmp_path / "a.json"
    write_probe(path, 330)
    write_json(path, read_json(path) | change)
    with pytest.raises(ArtifactError, match=r"a.json: not a probe of this hhvad .* delete it"):
        probe.read(path)
    with pytest.raises(ArtifactError, match=message):
        probe.read(path)


def test_a_probe_of_before_is_refused_by_name(tmp_path):
    path = tmp_path / "a.json"
    write_probe(path, 330)
    old = read_json(path)
    del old["schema_version"]
    write_json(path, old)
    with pytest.raises(ArtifactError, match="schema_version is absent"):
        probe.read(path)


def test_the_wall_clock_goes_with_the_times():
    info = make_probe(100, 25, started="2026-11-25T22:59:58+00:00")
    assert info.clock(3.6) == "2026-11-25T23:00:01+00:00"
    assert make_probe(100).clock(3.6) is None


@pytest.mark.parametrize(
    ("name", "pattern", "start"),
    [
        ("cam1_20261125-140506.mp4", "%Y%m%d-%H%M%S", "2026-11-25T14:05:06+00:00"),
        ("front 2026-11-25.mkv", "front %Y-%m-%d", "2026-11-25T00:00:00+00:00"),
        ("20261125140506250.avi", "%Y%m%d%H%M%S%f", "2026-11-25T14:05:06.250000+00:00"),
        ("a_25.11.2026_14+0200.ts", "%d.%m.%Y_%H%z", "2026-11-25T12:00:00+00:00"),
        ("20261399-140506.mp4", "%Y%m%d-%H%M%S", None),
        ("holiday.mp4", "%Y%m%d", None),
    ],
)
def test_a_file_name_tells_the_start(name, pattern, start):
    assert start_in_name(name, pattern) == start


@pytest.mark.parametrize("pattern", ["cam", "%H%M%S", "%Y%m%d %q", "%Y%m%d%Y", "%Y%m%d%"])
def test_a_pattern_that_says_no_day_is_refused(pattern):
    with pytest.raises(ConfigError, match="start pattern"):
        start_in_name("cam.mp4", pattern)
