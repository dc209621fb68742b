"""The watcher without a model: events with a life, restarts, gaps, cameras, what is dropped."""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from probes import make_probe

from hhvad.errors import ArtifactError, ConfigError, VideoError
from hhvad.live.watch.folder import Clip, Folder
from hhvad.live.watch.journal import Journal
from hhvad.live.watch.life import Life, Scored
from hhvad.live.watch.reader import Dropped, Reader
from hhvad.live.watch.watcher import Settings, Watcher
from hhvad.localization.locator import Locator
from hhvad.methods.headhunt.detector import Coming

CHECKED = settings(deadline=None, max_examples=50, derandomize=True)
LENGTH, FPS = 10, 10  # a segment is one second
BEGIN = datetime(2026, 11, 26, 10, tzinfo=UTC)
LOCATOR = Locator(1.0, 0.5, causal=True)


def name_at(camera: str, seconds: float) -> str:
    """As `hhvad record` names a file that starts so many seconds behind BEGIN."""
    at = BEGIN + timedelta(seconds=seconds)
    return f"{camera}/{camera}_{at:%Y%m%dT%H%M%S}.{at.microsecond // 1000:03d}Z.mkv"


def put(root: Path, name: str, scores: list[float]) -> Path:
    """A recording: a text file with the scores that its segments shall have."""
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(scores))
    return path


def opened(clip: Clip):
    """Such a file as a video; the one pixel of a segment's frame is its number in SCORES."""
    scores = json.loads(clip.path.read_text())
    if isinstance(scores, str):
        raise VideoError(f"{clip.path}: {scores}")
    info = make_probe(LENGTH * len(scores), FPS)
    bounds = np.array([[i * LENGTH, i * LENGTH + LENGTH] for i in range(len(scores))])

    def frames() -> Iterator[np.ndarray]:
        for score in scores:
            if score < 0:
                raise VideoError(f"{clip.path}: broken")
            yield np.full((1, 1, 1, 3), round(score * 100), np.uint8)

    return info, Coming(bounds, np.zeros((len(scores), 1)), frames())


def judge(frames: np.ndarray, seconds: np.ndarray) -> np.ndarray:
    return frames[:, 0, 0, 0, 0] / 100


def watch(root: Path, locator: Locator = LOCATOR, stamp: str = "a", **how) -> Watcher:
    made = Watcher(
        root,
        how.pop("open", opened),
        how.pop("judge", judge),
        locator,
        stamp=stamp,
        done=how.pop("done", lambda done: None),
        settings=Settings(once=how.pop("once", True), poll=0.02, **how),
    )
    made.run()
    return made


def events(root: Path) -> list[dict]:
    return [json.loads(line) for line in (root / "events.jsonl").read_text().splitlines()]


def spans(changes: list[dict]) -> list[tuple]:
    """Camera, start and end of the events that were closed."""
    return [
        (one["camera"], one["started_at"], one["ended_at"], one["peak_score"])
        for one in changes
        if one["state"] == "closed"
    ]


def at(seconds: float) -> str:
    return (BEGIN + timedelta(seconds=float(seconds))).isoformat(timespec="milliseconds")


HIGH = [0, 0, 0.9, 0.9, 0.9, 0.1, 0, 0]


def test_an_event_opens_goes_on_and_closes(tmp_path):
    put(tmp_path, name_at("door", 0), HIGH[:4])
    put(tmp_path, name_at("door", 4), [0.9] * 4)
    put(tmp_path, name_at("door", 8), [0.0] * 4)
    watch(tmp_path)
    found = events(tmp_path)
    assert len({one["id"] for one in found}) == 1
    states = [one["state"] for one in found]
    assert states[0] == "open"
    assert states[-1] == "closed"
    assert set(states[1:-1]) <= {"update"}
    smoothed = LOCATOR.smooth([*HIGH[:4], *[0.9] * 4, *[0.0] * 4])
    above = np.flatnonzero(smoothed > 0.5)
    assert spans(found) == [("door", at(above[0]), at(above[-1] + 1), smoothed.max())]
    assert found[-1]["file"] == name_at("door", 0)
    assert found[-1]["start_seconds"] == above[0]


@CHECKED
@given(
    st.lists(st.integers(0, 100), min_size=1, max_size=30),
    st.data(),
    st.floats(0.4, 3),
    st.sampled_from(["renormalise", "zero"]),
)
def test_a_stream_in_pieces_has_the_events_of_the_whole(scores, data, sigma, border):
    locator = Locator(sigma, 0.45, border, causal=True)
    values = [one / 100 for one in scores]
    bounds = np.array([[i * LENGTH, i * LENGTH + LENGTH] for i in range(len(values))])
    expected = locator.events(values, bounds)
    life, smoothed, changes, done = Life("c", locator), [], [], 0
    while done < len(values):
        step = data.draw(st.integers(1, len(values)))
        part = values[done : done + step]
        started = BEGIN + timedelta(seconds=done)
        clip = Clip("c", f"{done}.mkv", Path("x"), started)
        changes += life.begin(started, 1.0)
        again = Life("c", locator)
        again.restore(json.loads(json.dumps(life.to_json())))  # a restart changes nothing
        life = again
        half = len(part) // 2
        for some in (range(half), range(half, len(part))):
            found, changed = life.feed(
                clip, [Scored(i * 10, i * 10 + 10, i, i + 1, part[i], locator.tau) for i in some]
            )
            smoothed += found
            changes += changed
        changes += life.end(len(part) * LENGTH, started + timedelta(seconds=len(part)))
        done += step
    changes += life.close()
    assert smoothed == locator.smooth(values).tolist()
    assert spans(changes) == [
        ("c", at(one.start / FPS), at(one.end / FPS), one.peak) for one in expected
    ]
    opened_ids = [one["id"] for one in changes if one["state"] == "open"]
    assert opened_ids == [one["id"] for one in changes if one["state"] == "closed"]


@pytest.mark.parametrize("late", [0.5, 5.0, -5.0])
def test_a_gap_starts_anew(tmp_path, late):
    put(tmp_path, name_at("door", 100), [0.9] * 4)
    put(tmp_path, name_at("door", 104 + late), [0.9, 0, 0, 0])
    watch(tmp_path)
    closed = spans(events(tmp_path))
    assert len(closed) == (1 if late == 0.5 else 2)


def test_a_gap_within_a_recording_starts_anew():
    life = Life("c", LOCATOR)
    clip = Clip("c", "a.mkv", Path("a"), BEGIN)
    segments = [Scored(i * 10, i * 10 + 10, i, i + 1, 0.9, 0.5) for i in (0, 1, 3, 4)]
    smoothed, changes = life.feed(clip, segments)
    assert [one["state"] for one in changes] == ["open", "closed", "open"]
    assert smoothed == pytest.approx([0.9] * 4)
    assert life.end(70, BEGIN)[0]["state"] == "closed"  # the end is lost
    assert life.ended is None


def test_a_short_last_segment_that_is_dropped_changes_nothing():
    life = Life("c", LOCATOR)
    clip = Clip("c", "a.mkv", Path("a"), BEGIN)
    life.feed(clip, [Scored(0, 10, 0, 1, 0.9, 0.5), Scored(10, 13, 1, 1.3, 0, 0.5, counts=False)])
    assert life.past == [0.9]
    assert life.end(13, BEGIN) == []
    assert life.event is not None


@pytest.fixture(scope="module")
def story(tmp_path_factory):
    """A folder of two cameras, watched without a pause: its files, journal and events."""
    root = tmp_path_factory.mktemp("story")
    rng = np.random.default_rng(5)
    files = {}
    for camera, start in itertools.product(("door", "yard"), (0, 6, 12, 30)):
        raised = np.round(rng.uniform(0, 1, 6) ** (0.3 if start % 12 else 3), 2)
        files[name_at(camera, start)] = raised.tolist()
    for name, scores in files.items():
        put(root, name, scores)
    watch(root)
    return files, (root / ".watch/journal.jsonl").read_bytes(), events(root)


def lines_of(journal: bytes) -> list[int]:
    """Where lines end, and the middle of each."""
    ends = list(itertools.accumulate(len(line) for line in journal.splitlines(keepends=True)))
    return sorted({0, *ends, *(end - 7 for end in ends)})


def test_a_restart_at_every_line_of_the_journal_loses_nothing(story, tmp_path):
    files, journal, expected = story
    assert len(spans(expected)) >= 3
    for number, cut in enumerate(lines_of(journal)):
        for events_too in (False, True):
            root = tmp_path / f"{number}-{events_too}"
            for name, scores in files.items():
                put(root, name, scores)
            (root / ".watch").mkdir()
            (root / ".watch/journal.jsonl").write_bytes(journal[:cut])
            told = "".join(json.dumps(one, separators=(",", ":")) + "\n" for one in expected)
            (root / "events.jsonl").write_text(told if events_too else told[: len(told) // 3])
            watch(root)
            found = events(root)
            assert sorted(spans(found)) == sorted(spans(expected)), cut
            assert {one["id"] for one in found} == {one["id"] for one in expected}
            lines = (root / "events.jsonl").read_text().splitlines()
            assert len(set(lines)) == len(lines)


def test_what_is_judged_is_not_judged_again(story, tmp_path):
    files, *_ = story
    for name, scores in files.items():
        put(tmp_path, name, scores)
    assert watch(tmp_path).metrics.camera("door").segments == 24
    before = (tmp_path / "events.jsonl").read_bytes()
    assert watch(tmp_path).metrics.camera("door").segments == 0
    assert (tmp_path / "events.jsonl").read_bytes() == before


def test_a_restart_goes_on_inside_a_recording(tmp_path):
    put(tmp_path, name_at("door", 0), [*HIGH, *HIGH, *HIGH])
    calls = []

    def dying(frames: np.ndarray, seconds: np.ndarray) -> np.ndarray:
        calls.append(len(frames))
        if len(calls) == 3:
            raise RuntimeError("the model is gone")
        return judge(frames, seconds)

    with pytest.raises(RuntimeError, match="the model is gone"):
        watch(tmp_path, judge=dying)
    done = []
    made = watch(tmp_path, done=done.append)
    assert made.metrics.camera("door").segments == 24 - sum(calls[:2])
    assert done[0].scores.tolist() == pytest.approx([*HIGH, *HIGH, *HIGH])
    expected = LOCATOR.smooth([*HIGH, *HIGH, *HIGH])
    np.testing.assert_allclose(done[0].smoothed, expected, rtol=1e-12)
    assert len(spans(events(tmp_path))) == 3


def test_a_recording_that_is_gone_after_a_restart_takes_nothing_from_the_next(tmp_path):
    path = put(tmp_path, name_at("door", 0), [0.9] * 12)
    calls = []

    def dying(frames: np.ndarray, seconds: np.ndarray) -> np.ndarray:
        calls.append(len(frames))
        if len(calls) == 2:
            raise RuntimeError("the model is gone")
        return judge(frames, seconds)

    with pytest.raises(RuntimeError, match="the model is gone"):
        watch(tmp_path, judge=dying)
    path.unlink()
    put(tmp_path, name_at("door", 12), [0.9] * 6)
    assert watch(tmp_path).metrics.camera("door").segments == 6
    assert [one[1] for one in spans(events(tmp_path))] == [at(0), at(12)]


def test_another_detector_starts_anew(tmp_path):
    put(tmp_path, name_at("door", 0), [0.9] * 4)
    first = Watcher(
        tmp_path,
        opened,
        judge,
        LOCATOR,
        stamp="a",
        settings=Settings(poll=0.02),
        done=lambda done: first.stop(),
    )
    first.run()
    assert first.metrics.camera("door").is_open
    watch(tmp_path, stamp="b")
    assert [one["state"] for one in events(tmp_path)][-1] == "closed"
    put(tmp_path, name_at("door", 4), [0.0, 0.9, 0, 0])
    watch(tmp_path, stamp="b")
    # With the other detector's scores in mind, the second event would start at once.
    assert [one[1] for one in spans(events(tmp_path))] == [at(0), at(5)]


def test_cameras_take_turns(tmp_path):
    batches = []

    def seen(frames: np.ndarray, seconds: np.ndarray) -> np.ndarray:
        batches.append(frames[:, 0, 0, 0, 0].tolist())
        return judge(frames, seconds)

    put(tmp_path, name_at("long", 0), [0.1] * 60)
    put(tmp_path, name_at("short", 0), [0.2] * 5)
    watch(tmp_path, judge=seen)
    order = [one for batch in batches for one in batch]
    assert order.index(20) < 10
    assert max(i for i, one in enumerate(order) if one == 20) < 40  # not behind the long one


def test_a_broken_recording_is_a_gap_and_no_end(tmp_path, capsys):
    put(tmp_path, name_at("door", 0), [0.9] * 4)
    put(tmp_path, name_at("door", 4), "broken").write_text('"is damaged"')
    put(tmp_path, name_at("door", 8), [0.9, 0.9, -1])
    put(tmp_path, name_at("door", 11), [0.9] * 4)
    made = watch(tmp_path)
    assert made.metrics.camera("door").failed == 2
    assert "is damaged" in capsys.readouterr().err
    found = spans(events(tmp_path))
    # Of the third file the last segment that was read may hide the broken one: it is not judged.
    assert [one[1] for one in found] == [at(0), at(8), at(11)]


def test_files_without_a_clock_are_each_their_own(tmp_path):
    put(tmp_path, "a.mp4", [0.9] * 3)
    put(tmp_path, "b.mp4", [0.9] * 3)
    (tmp_path / "notes.txt").write_text("no video")
    (tmp_path / "c.mp4.part").write_text("unfinished")
    watch(tmp_path)
    found = [one for one in events(tmp_path) if one["state"] == "closed"]
    assert [(one["file"], one["camera"], one["started_at"]) for one in found] == [
        ("a.mp4", "default", None),
        ("b.mp4", "default", None),
    ]


def test_a_growing_file_waits(tmp_path):
    folder = Folder(tmp_path)
    path = put(tmp_path, "a.mp4", [0.1])
    recorded = put(tmp_path, name_at("door", 0), [0.1])
    assert [clip.path for clip in folder.new()] == [recorded]
    path.write_text("[0.1, 0.2]")
    assert folder.new() == []
    assert [clip.name for clip in folder.new()] == ["a.mp4"]
    assert folder.new() == []
    path.unlink()
    assert folder.new() == []


def test_the_oldest_is_dropped_when_it_is_behind(tmp_path):
    gate = threading.Event()

    def slow(clip: Clip):
        gate.wait()
        return opened(clip)

    reader = Reader(slow, max_behind=25, wake=threading.Event())
    for seconds in (0, 10, 20, 30, 40, 50):
        put(tmp_path, name_at("door", seconds), [0.1])
        reader.add(Clip.of(tmp_path, tmp_path / name_at("door", seconds)))
    gate.set()
    found = []
    while not reader.idle:
        if (one := reader.take()) is not None:
            found.append(one)
    reader.stop()
    dropped = [one.clip.name for one in found if isinstance(one, Dropped)]
    assert dropped[-1] == name_at("door", 20)
    assert 2 <= len(dropped) <= 3  # the first may have been under way


def test_what_is_dropped_is_counted_and_a_gap(tmp_path):
    for seconds in range(0, 100, 10):
        put(tmp_path, name_at("door", seconds), [0.9] * 10)

    class Stopped(Exception):
        pass

    def last(done):
        if done.clip.name == name_at("door", 90):
            raise Stopped

    made = None
    with pytest.raises(Stopped):
        made = Watcher(
            tmp_path,
            opened,
            judge,
            LOCATOR,
            stamp="a",
            done=last,
            settings=Settings(max_behind=25, poll=0.02),
        )
        made.run()
    counts = made.metrics.camera("door")
    assert counts.dropped >= 6
    assert counts.dropped + counts.files == 10
    assert made.metrics.text().count("hhvad_dropped_files_total{") == 1


def test_silence_closes_an_event(tmp_path):
    put(tmp_path, name_at("door", 0), [0.9] * 4)
    made = Watcher(
        tmp_path, opened, judge, LOCATOR, stamp="a", settings=Settings(silence=0.1, poll=0.02)
    )
    thread = threading.Thread(target=made.run)
    thread.start()
    for _ in range(200):
        if (tmp_path / "events.jsonl").read_text().count("closed"):
            break
        threading.Event().wait(0.02)
    made.stop()
    thread.join()
    assert [one["state"] for one in events(tmp_path)][-1] == "closed"


def test_mistakes_are_named(tmp_path):
    with pytest.raises(ConfigError, match="no such folder"):
        watch(tmp_path / "none")
    assert not (tmp_path / "none").exists()
    held = Journal(tmp_path / ".watch/journal.jsonl")
    with pytest.raises(ConfigError, match="another hhvad uses it"):
        watch(tmp_path)
    held.append({"camera": "x"})
    held.close()
    with pytest.raises(ArtifactError, match=r"line 1 is not of this hhvad"):
        watch(tmp_path)
    (tmp_path / ".watch/journal.jsonl").write_text("no json\n")
    with pytest.raises(ArtifactError, match=r"journal.jsonl: line 1 is not JSON"):
        watch(tmp_path)
