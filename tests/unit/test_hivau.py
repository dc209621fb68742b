"""HIVAU-70k: items as frame ranges, text metrics as pycocoevalcap's, answers end to end."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from probes import write_probe

from hhvad.artifacts import texts
from hhvad.cli import main
from hhvad.cli.hivau import meteor
from hhvad.datasets.hivau_items import (
    Item,
    official_range,
    read_instructions,
    read_items,
    write_items,
)
from hhvad.errors import AnnotationError, DataError
from hhvad.evaluation.captions import rouge_l, score_texts, tokens
from hhvad.evaluation.hivau import Answer, compare, states_anomaly

INSTRUCTIONS = "annotations/hivau-70k/merge_instruction_test_final.jsonl"
RAW = "annotations/hivau-70k/ucf_database_test.json"


def test_metrics_are_those_of_the_official_code(shared: Path):
    known = json.loads((shared / "methods/captions_dev.json").read_text())
    names = list(known["candidates"])
    found = score_texts(
        [known["candidates"][name].split() for name in names],
        [[text.split() for text in known["references"][name]] for name in names],
    )
    for name in ("bleu", "bleu_items", "rouge_l", "rouge_l_items", "cider", "cider_items"):
        np.testing.assert_allclose(getattr(found, name), known[name], atol=1e-6, err_msg=name)


def test_rouge_by_hand():
    # the longest common subsequence of "a b c d" and "a c d e f" is "a c d"
    precision, recall, beta = 3 / 4, 3 / 5, 1.2**2
    wanted = (1 + beta) * precision * recall / (recall + beta * precision)
    assert rouge_l(["a", "b", "c", "d"], [["a", "c", "d", "e", "f"]]) == pytest.approx(wanted)
    assert rouge_l([], [["a"]]) == 0
    assert rouge_l(["b"], [["a"]]) == 0


def test_empty_answers_are_answers():
    found = score_texts([[], ["a", "b"]], [[["a", "b"]], [["a", "b"]]])
    assert np.isfinite([*found.bleu, found.rouge_l, found.cider]).all()
    assert found.rouge_l == pytest.approx(0.5)
    with pytest.raises(DataError, match="at least one reference"):
        score_texts([["a"]], [[]])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("A man doesn't run.", "a man does n't run"),
        ("The man's well-known dog, at 10,000 m.", "the man 's well-known dog at 10,000 m"),
        ('He said: "stop" (twice)!', "he said stop -lrb- twice -rrb-"),
        ("", ""),
    ],
)
def test_tokens(text: str, words: str):
    assert tokens(text) == words.split()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("An anomaly exists, specifically named Fighting.", True),
        ("No anomaly exists, specifically, there is no car accident.", False),
        ("Based on the caption, an anomaly exists.", True),
        ("There isn't any anomaly", False),
        ("Yes.", True),
        ("A man walks.", None),
    ],
)
def test_what_a_judgement_says(text: str, says: bool | None):
    assert states_anomaly(text) is says


def test_real_items(shared: Path, tmp_path: Path):
    items, empty, absent = read_instructions(shared / INSTRUCTIONS, [shared / RAW])
    assert (len(items), len(empty), len(absent)) == (599, 0, 90)
    assert len({one.id for one in items}) == len(items)
    abuse = [one for one in items if one.video == "Abuse028_x264"]
    assert [(one.level, one.start, one.end) for one in abuse if one.task != "analysis"] == [
        ("video", 0, 1412),
        ("video", 0, 1412),
        ("event", 165, 240),
        ("event", 165, 240),
        ("clip", 165, 201),
    ]
    write_items(tmp_path / "items.tsv", items)
    assert [one.id for one in read_items(tmp_path / "items.tsv")] == [one.id for one in items]
    judged = [states_anomaly(one.reference) for one in items if one.task == "judgement"]
    assert None not in judged


def test_the_official_cut_ends_before_the_last_frame():
    assert official_range([0.99, 100.0], 29.97, 300) == (29, 299)
    assert official_range([5.0, 5.01], 30.0, 300) == (150, 150)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"type": "clip", "task": "caption", "video": "a/v.mp4"}, "line 1"),
        ({"type": "clip", "task": "caption", "video": "a/v.mp4", "prompt": "", "anwser": ""}, "v"),
        ({"type": "event", "task": "judgement", "video": "v_E7", "prompt": "", "anwser": ""}, "E7"),
    ],
)
def test_bad_rows_are_named(tmp_path: Path, row: dict, message: str):
    (tmp_path / "i.jsonl").write_text(json.dumps(row))
    raw = {"v": {"n_frames": 9, "fps": 30, "label": ["Normal"], "events": [], "clips": []}}
    (tmp_path / "r.json").write_text(json.dumps(raw))
    with pytest.raises(AnnotationError, match=message):
        read_instructions(tmp_path / "i.jsonl", [tmp_path / "r.json"])


def test_rows_per_level_and_task_with_intervals():
    same = [
        Answer("event", "judgement", v, v != "c", "An anomaly exists.", "An anomaly exists.")
        for v in "aab"
    ]
    other = Answer("event", "judgement", "c", False, "No anomaly exists.", "A man walks.")
    clip = Answer("clip", "caption", "a", True, "a man runs away fast", "a man runs away fast")
    first, second = compare([*same, other, clip], bootstrap=200, seed=0)
    assert (first["level"], first["texts"], first["bleu_4"]) == ("clip", 1, pytest.approx(1))
    assert (second["texts"], second["videos"], second["unreadable"]) == (4, 3, 1)
    assert second["accuracy"] == pytest.approx(0.75)
    low, high = second["accuracy_interval"]
    assert 0 <= low < 0.75 < high <= 1
    assert not any(math.isnan(value) for value in second["cider_interval"])
    assert compare([*same, other, clip], bootstrap=200, seed=0) == [first, second]
    assert "accuracy_interval" not in compare([*same, other], bootstrap=0, seed=0)[0]


def test_a_real_clip_is_answered_and_scored(shared: Path, tmp_path: Path):
    clip = str(shared / "clips/car_accident.mp4")
    probe, items = str(tmp_path / "probe.json"), str(tmp_path / "items.tsv")
    common = ["--video=v", f"--path={clip}", "--timeout=60"]
    assert main(["probe-video", *common, f"--out={probe}"]) == 0
    asked = [
        Item("1", "video", "judgement", "v", 0, 120, True, "Is it strange?", "Yes, a crash."),
        Item("2", "clip", "caption", "v", 10, 30, True, "what happens here?", "Two cars crash."),
    ]
    write_items(items, asked)
    model = ["--model=demo", "--model-name=demo", "--revision=", "--dtype=float32", "--device=cpu"]
    model += [
        "--batch-size=1",
        "--threads=1",
        "--commit-file=none",
        "--resident=no",
        "--idle-timeout=9",
        "--system=",
    ]
    words = [f"--items={items}", f"--probe={probe}", "--frames=8", "--size", "56", "56"]
    answer = ["answer-hivau", *common, *words, *model, "--max-tokens=8"]
    out = tmp_path / "answers.jsonl"
    assert main([*answer, f"--out={out}"]) == 0
    first = out.read_bytes()
    assert main([*answer, f"--out={out}"]) == 0
    assert out.read_bytes() == first
    assert [row["id"] for row in texts.read(out, "hivau").rows] == ["1", "2"]
    score = [f"--items={items}", f"--answers={out}", "--bootstrap=10", "--seed=0"]
    files = [f"--out={tmp_path / 's.json'}", f"--table={tmp_path / 's.tsv'}"]
    assert main(["score-texts", *score, *files]) == 0
    found = json.loads((tmp_path / "s.json").read_text())
    assert [row["task"] for row in found["rows"]] == ["caption", "judgement"]
    assert found["unanswered"] == 0


def test_meteor_is_the_mean_over_texts():
    answers = [
        Answer("clip", "caption", "a", True, "a man runs", "a man runs"),
        Answer("clip", "caption", "b", True, "a dog barks", "nothing"),
    ]
    (row,) = compare(answers, bootstrap=50, seed=0, meteor=lambda said, wanted: [0.75, 0.25])
    assert row["meteor"] == 0.5
    low, high = row["meteor_interval"]
    assert (low, high) == (0.25, 0.75)
    assert "meteor" not in compare(answers, bootstrap=0, seed=0)[0]


def test_meteor_by_its_own_code():
    pytest.importorskip("pycocoevalcap", reason="needs pycocoevalcap")
    found = meteor()
    if isinstance(found, str):
        pytest.skip(found)
    same, near, other = found(
        ["a man runs away fast", "the man ran away", "nothing"], ["a man runs away fast"] * 3
    )
    assert same == pytest.approx(1, abs=0.01)
    assert other < near < same


def test_why_there_is_no_meteor(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", "")
    assert meteor() == "not computed: there is no Java"


def test_a_video_without_questions(tmp_path: Path, capsys):
    write_probe(tmp_path / "p.json", frames=50)
    item = Item("1", "video", "judgement", "other", 0, 12, True, "Is it strange?", "Yes.")
    write_items(tmp_path / "items.tsv", [item])
    words = [
        *("answer-hivau", "--video=v", "--path=none.mp4", "--timeout=60", "--frames=8"),
        *("--size", "56", "56", f"--items={tmp_path / 'items.tsv'}", "--system=", "--resident=no"),
        *(f"--probe={tmp_path / 'p.json'}", "--model=demo", "--model-name=demo", "--revision="),
        *("--dtype=float32", "--device=cpu", "--batch-size=1", "--threads=1", "--idle-timeout=9"),
        *("--commit-file=none", "--max-tokens=8", f"--out={tmp_path / 'a.jsonl'}"),
    ]
    assert main(words) == 2
    assert "no item of video 'v'" in capsys.readouterr().err
    assert main([*words, "--none-is-fine"]) == 0
    assert texts.read(tmp_path / "a.jsonl", "hivau").rows == []
