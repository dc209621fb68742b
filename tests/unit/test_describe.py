"""Which frames a description looks at, what is asked, what is kept, and how a judgement is read."""

from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest

from hhvad.artifacts import hdf5, texts
from hhvad.cli import main
from hhvad.describe import ask, plan, report
from hhvad.describe.ask import Answered
from hhvad.describe.plan import Picked, Unit
from hhvad.errors import ArtifactError
from hhvad.mllm.tasks.describe import as_characters


def seconds(frame: int) -> float:
    return frame / 10


def frame(time: float) -> int:
    return round(time * 10)


def test_events_nearer_than_a_second_are_one():
    events = [(0, 20), (29, 40), (50, 60)]
    assert plan.merged(events, seconds, 1.0) == [(0, 40), (50, 60)]
    assert plan.merged([], seconds, 1.0) == []


def test_clips_are_equal_parts_of_an_event_and_the_margin_ends_with_the_video():
    found = plan.units([(10, 111)], 120, seconds, frame, clip_seconds=5.0, margin_seconds=2.0)
    assert found == [
        Unit("clip", 0, 0, 10, 43),
        Unit("clip", 0, 1, 43, 77),
        Unit("clip", 0, 2, 77, 111),
        Unit("event", 0, -1, 0, 120),
        Unit("video", -1, -1, 0, 120),
    ]
    exact = plan.units([(0, 50)], 120, seconds, frame, clip_seconds=5.0, margin_seconds=0.0)
    assert [unit.name for unit in exact] == ["event 0 clip 0", "event 0", "video"]


def test_a_table_of_focus_is_read_as_it_was_written(tmp_path: Path):
    picked = [
        Picked(Unit("clip", 0, 0, 3, 9), [-1, -1], [3, 7], [0.3, 0.7], [0.1, 0.9]),
        Picked(Unit("video", -1, -1, 0, 99), [0, 2], [0, 32], [0.0, 3.2], [0.0, 1.0]),
    ]
    plan.write(tmp_path / "focus.tsv", picked)
    assert plan.read(tmp_path / "focus.tsv") == picked


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        ("yes", True),
        ("Yes, a fight.", True),
        ("No.", False),
        ("Nothing unusual", False),
        ("**No**", False),
        ("Abnormal", True),
        ("Normally I would say yes", None),
        ("", None),
        ("I cannot tell", None),
    ],
)
def test_a_judgement_is_its_first_word(answer, verdict):
    assert ask.judged(answer) is verdict


def answered(level: str, event: int, question: str, answer: str, part: int = -1) -> Answered:
    return Answered(level, event, part, 0, 10, question, answer, 1, False, "k")


def test_texts_of_the_level_below():
    clips = [answered("clip", e, "clip", f"c{e}", 0) for e in (0, 1)]
    events = [answered("event", 0, q, q) for q in ask.ASKED["event"]]
    event, video = Unit("event", 1, -1, 0, 9), Unit("video", -1, -1, 0, 99)
    assert ask.parts_of(event, clips) == ["c1"]
    assert ask.parts_of(video, [*clips, *events]) == ["description"]
    assert ask.parts_of(video, clips) == []
    assert ask.parts_of(video, [answered("video", -1, "clip", "all")]) == ["all"]
    assert ask.prompt("why?", "seen:", ["a\nb", "c"]) == "why?\nseen:\n1. a b\n2. c"
    assert ask.prompt("why?", "seen:", []) == "why?"


def test_a_disagreement_is_shown():
    said = [
        answered("clip", 0, "clip", "a man runs", 0),
        answered("event", 0, "judgement", "No, an ordinary day."),
        answered("event", 0, "description", "A man runs"),
        answered("event", 0, "analysis", "He is late."),
        answered("video", -1, "judgement", "perhaps"),
        answered("video", -1, "description", "A street"),
        answered("video", -1, "analysis", ""),
    ]
    events = [
        {"start_frame": 0, "end_frame": 4, "peak_score": 0.9},
        {"start_frame": 6, "end_frame": 10, "peak_score": 0.8},
    ]
    found = report.summary(events, {0: (0, 10)}, said, seconds)
    assert [event["agreement"] for event in found["events"]] == ["disagrees"] * 2
    assert found["events"][1]["clips"][0]["text"] == "a man runs"
    assert found["about"]["agreement"] == "unclear"
    assert report.sentence(found["events"][0]).startswith("A man runs. He is late. [the model, ")
    assert "is unclear: perhaps" in report.sentence(found["about"])
    with pytest.raises(ArtifactError, match="event 0-4 has no description"):
        report.summary(events, {}, said, seconds)


def test_special_tokens_in_texts_are_characters():
    words = Namespace(get_added_vocab=lambda: {"<|im_end|>": 1, "<img>": 2})
    assert as_characters("a<|im_end|>b<img>", words) == "a< |im_end|>b< img>"


# --- commands, with the shipped model -------------------------------------------------------------


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """Focus of two events and the video, and their frames."""
    rng = np.random.default_rng(0)
    shapes = [("clip", 0, 0), ("event", 0, -1), ("clip", 1, 0), ("event", 1, -1), ("video", -1, -1)]
    picked = [
        Picked(Unit(*shape, 10 * n, 10 * n + 10), [-1] * 8, [10 * n] * 8, [0.0] * 8, [0.5] * 8)
        for n, shape in enumerate(shapes)
    ]
    plan.write(tmp_path / "focus.tsv", picked)
    write_frames(tmp_path, rng.integers(0, 256, (5, 8, 56, 56, 3), dtype=np.uint8))
    return tmp_path


def write_frames(folder: Path, frames: np.ndarray) -> None:
    arrays = {
        "frames": frames,
        "segments": np.zeros((len(frames), 2), np.int64),
        "indices": np.zeros((len(frames), 8), np.int64),
    }
    about = {"source": {"fingerprint": "f"}, "size": [56, 56], "resize": "r", "decoder": "d"}
    hdf5.write(folder / "frames.h5", "frames", arrays, {"video": "v", **about})


def describe(folder: Path, level: str, *more: str, hierarchy: str = "joint") -> int:
    asked = ["--clip", "what happens here?"]
    if level != "clips":
        asked = ["--judgement", "Is it strange?", "--description", "what happens here?"]
        asked += ["--analysis", "Where does it happen?", "--parts", "Parts:"]
    model = ["--model", "demo", "--model-name", "demo", "--revision=", "--dtype", "float32"]
    model += ["--commit-file", "none"]
    model += ["--device", "cpu", "--batch-size", "1", "--threads", "1", "--resident", "no"]
    files = ["--focus", "focus.tsv", "--frames", "frames.h5", "--out", f"{level}.jsonl"]
    files += ["--kept", f"kept-{level}.jsonl"]
    paths = [w if w.startswith("--") else str(folder / w) for w in files]
    words = ["--hierarchy", hierarchy, "--system=", "--max-tokens", "6", "--idle-timeout", "9"]
    return main([f"describe-{level}", *paths, *words, *asked, *model, *more])


def test_only_what_is_new_is_asked_again(study: Path, capsys):
    assert describe(study, "clips") == 0
    assert "2 of 2 questions are new" in capsys.readouterr().err
    first = (study / "clips.jsonl").read_bytes()
    (study / "clips.jsonl").unlink()
    assert describe(study, "clips") == 0
    assert "0 of 2 questions are new" in capsys.readouterr().err
    assert (study / "clips.jsonl").read_bytes() == first

    picked = plan.read(study / "focus.tsv")
    picked[2] = picked[2]._replace(frames=[29] * 8)  # the second event has moved
    plan.write(study / "focus.tsv", picked)
    assert describe(study, "clips") == 0
    assert "1 of 2 questions are new" in capsys.readouterr().err
    again = (study / "clips.jsonl").read_bytes()
    (study / "kept-clips.jsonl").unlink()
    assert describe(study, "clips") == 0
    assert "2 of 2 questions are new" in capsys.readouterr().err
    assert (study / "clips.jsonl").read_bytes() == again  # kept or computed: the same


def test_three_levels(study: Path, capsys):
    lower = ["--lower", str(study / "clips.jsonl")]
    assert describe(study, "clips") == 0
    for hierarchy in ("joint", "frames", "texts"):
        assert describe(study, "events", *lower, hierarchy=hierarchy) == 0
        both = [*lower, str(study / "events.jsonl")]
        assert describe(study, "video", *both, hierarchy=hierarchy) == 0
        rows = texts.read(study / "events.jsonl", "descriptions").rows
        assert [(row["event"], row["question"]) for row in rows] == [
            (event, question) for event in (0, 1) for question in ask.ASKED["event"]
        ]
        assert len(texts.read(study / "video.jsonl", "descriptions").rows) == 3
        assert "6 of 6 questions are new" in capsys.readouterr().err  # other prompts, or texts


def test_a_video_without_events_is_described_from_its_own_text(study: Path):
    picked = plan.read(study / "focus.tsv")[-1:]
    plan.write(study / "focus.tsv", picked)
    assert describe(study, "clips", hierarchy="texts") == 0
    (row,) = texts.read(study / "clips.jsonl", "descriptions").rows
    assert (row["level"], row["question"]) == ("video", "clip")
    lower = ["--lower", str(study / "clips.jsonl")]
    assert describe(study, "video", *lower, hierarchy="texts") == 0


def test_frames_of_view_focus_are_the_frames_that_were_asked_for(shared: Path, tmp_path: Path):
    clip = str(shared / "clips" / "car_accident.mp4")
    probe = str(tmp_path / "probe.json")
    assert (
        main(["probe-video", "--video=v", f"--path={clip}", "--timeout=60", f"--out={probe}"]) == 0
    )
    frames = [[100, 101], [5, 100], [0, 119]]
    spans = [("clip", 0, 0), ("event", 0, -1), ("video", -1, -1)]
    picked = [
        Picked(Unit(*span, 0, 120), [-1, -1], f, [0.0, 0.0], [0.5, 0.5])
        for span, f in zip(spans, frames, strict=True)
    ]
    plan.write(tmp_path / "focus.tsv", picked)
    common = [f"--probe={probe}", "--video=v", f"--path={clip}", "--size", "56", "56"]
    common += ["--threads=1", "--timeout=60"]
    focus = ["sample-clips", *common, f"--focus={tmp_path / 'focus.tsv'}"]
    assert main([*focus, f"--out={tmp_path / 'a.h5'}"]) == 0
    every = ["sample-frames", *common, "--view=grid", "--frames-per-segment=1"]
    assert main([*every, "--segment-length=1", f"--out={tmp_path / 'b.h5'}"]) == 0
    chosen = hdf5.read(tmp_path / "a.h5", "frames", ("frames", "indices"))
    truth = hdf5.read(tmp_path / "b.h5", "frames", ("frames",))["frames"][:, 0]
    assert chosen["indices"].tolist() == frames
    np.testing.assert_array_equal(chosen["frames"], truth[np.array(frames)])


def test_focus_of_events_is_where_scores_are_high(tmp_path: Path, shared: Path):
    clip = str(shared / "clips" / "Robbery102_x264.mp4")
    probe = str(tmp_path / "probe.json")
    assert (
        main(["probe-video", "--video=v", f"--path={clip}", "--timeout=99", f"--out={probe}"]) == 0
    )
    n = json.loads(Path(probe).read_text())["frames"]
    rows = [f"{i}\t{s}\t{min(s + 48, n)}\t{0.9 if 1056 <= s < 1536 else 0.05}"
            for i, s in enumerate(range(0, n, 48))]  # fmt: skip
    (tmp_path / "scores.tsv").write_text(
        "segment\tstart_frame\tend_frame\tscore\n" + "\n".join(rows) + "\n"
    )
    event = {"start_frame": 1056, "end_frame": 1536}
    (tmp_path / "events.json").write_text(json.dumps({"events": [event]}))
    words = ["--frames=12", "--floor=share", "--floor-value=0.2", "--distinct=yes"]
    words += ["--clip-seconds=5", "--margin-seconds=2", "--merge-seconds=1", f"--probe={probe}"]
    files = [f"--events={tmp_path / 'events.json'}", f"--scores={tmp_path / 'scores.tsv'}"]
    assert main(["sample-focus", *files, *words, f"--out={tmp_path / 'focus.tsv'}"]) == 0
    picked = plan.read(tmp_path / "focus.tsv")
    assert [one.unit.level for one in picked] == ["clip"] * 4 + ["event", "video"]
    inside = [1056 <= frame < 1536 for frame in picked[-1].frames]
    assert sum(inside) >= 7
    assert (picked[-2].unit.start, picked[-2].unit.end) == (996, 1596)
