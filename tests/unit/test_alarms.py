"""Events with sense: hysteresis, merging, short ones, pads and ignored hours."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hhvad.artifacts.probe import Probe
from hhvad.errors import ConfigError, DataError
from hhvad.localization import alarms, locator
from hhvad.localization.alarms import Shape
from hhvad.media.time import FrameTimes
from hhvad.records import Event

CHECKED = settings(deadline=None, max_examples=80, derandomize=True)


def probe(frames: int = 100, started: str | None = None, fps: int = 1) -> Probe:
    times = FrameTimes(frames, Fraction(fps))
    return Probe(
        float(fps), str(fps), frames, 4, 4, frames / fps, "h264", 0, False, "1", "pyav", 1, "f",
        started, times,
    )  # fmt: skip


def segments(count: int) -> list[list[int]]:
    return [[i, i + 1] for i in range(count)]


def test_off_by_default():
    scores = [0.1, 0.9, 0.1, 0.9, 0.9]
    assert Shape().events(scores, 0.5, segments(5), probe(5)) == locator.events(scores, 0.5)
    assert Shape().words() == ""


def test_an_event_lasts_while_above_low():
    scores = [0.4, 0.9, 0.4, 0.6, 0.1, 0.4, 0.4]
    found = Shape(low=0.3).events(scores, 0.5, segments(7), probe(7))
    assert found == [Event(1, 4, 0.9)]  # starts above tau, not before; 5 and 6 never were
    assert Shape(low=0.8).events(scores, 0.5, segments(7), probe(7)) == locator.events(scores, 0.5)


def test_near_events_become_one_and_short_ones_go():
    scores = [0.9, 0, 0.8, 0, 0, 0, 0.7]
    assert Shape(merge_gap=1).events(scores, 0.5, segments(7), probe(7)) == [
        Event(0, 3, 0.9),
        Event(6, 7, 0.7),
    ]
    assert Shape(merge_gap=1, min_duration=2).events(scores, 0.5, segments(7), probe(7)) == [
        Event(0, 3, 0.9)
    ]
    assert Shape(min_duration=2).events(scores, 0.5, segments(7), probe(7)) == []


def test_pads_stay_inside_and_join():
    scores = [0.9, 0, 0, 0.8, 0, 0, 0, 0, 0, 0.7]
    assert Shape(pad=1).events(scores, 0.5, segments(10), probe(10)) == [
        Event(0, 5, 0.9),
        Event(8, 10, 0.7),
    ]
    assert Shape(merge_gap=1, pad=1.5, low=0.2).words() == "merge_gap 1 s, pad 1.5 s, low 0.2"


@CHECKED
@given(
    st.lists(st.floats(0, 1), min_size=1, max_size=40),
    st.floats(0, 5),
    st.floats(0, 5),
    st.one_of(st.none(), st.floats(0, 1)),
)
def test_no_alarm_is_lost_or_invented(scores, gap, pad, low):
    """Without min_duration every frame above tau is in an event; every event has one."""
    count = len(scores)
    found = Shape(merge_gap=gap, pad=pad, low=low).events(
        scores, 0.5, segments(count), probe(count)
    )
    inside = {t for event in found for t in range(event.start, event.end)}
    above = {t for t, score in enumerate(scores) if score > 0.5}
    assert above <= inside
    assert all(above & set(range(one.start, one.end)) for one in found)
    assert all(0 <= one.start < one.end <= count for one in found)
    assert all(a.end < b.start for a, b in pairwise(found))


def test_hours():
    assert alarms.parse_hours(["22-6", "12:30-13:00"], "x") == ((1320, 1800), (750, 780))
    for bad in (["22"], ["25-3"], ["1-1"], ["1:70-2"], ["22-6", "5-7"], ["a-b"], ["1-3", "2-4"]):
        with pytest.raises(ConfigError, match=r"^x: "):
            alarms.parse_hours(bad, "x")


def test_events_that_lie_in_ignored_hours():
    hours = alarms.parse_hours(["22-6"], "x")
    night = probe(7200, "2026-01-01T05:30:00+00:00")
    assert alarms.is_ignored(Event(0, 60, 1), night, hours)
    assert not alarms.is_ignored(Event(1700, 1900, 1), night, hours)  # it lasts beyond 6
    assert not alarms.is_ignored(Event(1900, 2000, 1), night, hours)
    late = replace(night, started="2026-01-01T23:30:00+00:00")
    assert alarms.is_ignored(Event(0, 3600, 1), late, hours)  # over midnight
    assert not alarms.is_ignored(Event(0, 60, 1), replace(night, started=None), hours)


def test_hours_of_segments():
    info = probe(7200, "2026-01-01T22:59:59+00:00")
    found = alarms.hours_of_day([[0, 1], [1, 2], [3601, 3602]], info)
    assert found.tolist() == [22, 23, 0]
    with pytest.raises(DataError, match="wall clock"):
        alarms.hours_of_day([[0, 1]], probe())


def test_gaps_are_no_footage():
    steps = "1*10 100 1*10"  # an hour of nothing after frame 10
    times = FrameTimes(21, Fraction(1), Fraction(0), Fraction(1), steps)
    info = replace(probe(21), times=times)
    assert len(times.gaps) == 1
    assert alarms.footage_seconds([[0, 7], [7, 14], [14, 21]], info).sum() == 21
    assert alarms.footage_seconds([[0, 11], [11, 21]], info).tolist() == [11, 10]
