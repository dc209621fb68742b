"""Texts on frames against transformers' own generate."""

from __future__ import annotations

import pytest
import torch
import transformers
from test_capture import FAMILIES, Family, make
from test_resident import (
    fake,  # noqa: F401  (fixtures)
    runtime,  # noqa: F401
    write_frames,
)

from hhvad.artifacts import texts
from hhvad.cli import main
from hhvad.errors import ArtifactError, ConfigError, ModelError
from hhvad.mllm.engine import Engine
from hhvad.mllm.head import plain
from hhvad.mllm.tasks import find
from hhvad.mllm.tasks.generate import without_verdict

LIMIT = 12


@pytest.fixture(scope="module", params=FAMILIES)
def family(request, tmp_path_factory) -> Family:
    return make(request.param, tmp_path_factory.mktemp(request.param))


def reference(family, segment, prompt):
    """The tokens of plain greedy generation."""
    model = family.model().eval()
    inputs = family.inputs(segment, prompt)
    with torch.no_grad():
        out = model.generate(
            **inputs,
            attention_mask=torch.ones_like(inputs["input_ids"]),
            do_sample=False,
            max_new_tokens=LIMIT,
            eos_token_id=2,
            pad_token_id=0,
        )
    return out[0, inputs["input_ids"].shape[1] :].tolist()


def test_answers_equal_plain_generation(family):
    engine = Engine.load(str(family.folder), device="cpu")
    words = transformers.AutoTokenizer.from_pretrained(family.folder)
    assert words.eos_token_id == 2
    found = engine.generate(family.frames, "a fire", max_tokens=LIMIT, batch_size=2)
    for answer, segment in zip(found, family.frames, strict=True):
        ids = reference(family, segment, "a fire")
        ended = 2 in ids
        assert answer.text == plain(words.decode(ids, skip_special_tokens=True))
        assert (answer.tokens, answer.cut) == (ids.index(2) if ended else LIMIT, not ended)


@pytest.fixture(scope="module")
def simple(tmp_path_factory) -> Family:
    return make("internvl", tmp_path_factory.mktemp("simple"))


def test_a_row_ends_at_its_own_end_token(simple, monkeypatch):
    engine = Engine.load(str(simple.folder), device="cpu")
    written = [reference(simple, segment, "a fire") for segment in simple.frames]
    end = written[0][3]
    monkeypatch.setattr("hhvad.mllm.engine.end_tokens", lambda *_: {end})
    found = engine.generate(simple.frames, "a fire", max_tokens=LIMIT, batch_size=3)
    for answer, ids in zip(found, written, strict=True):
        assert answer.tokens == (ids.index(end) if end in ids else LIMIT)
        assert answer.cut == (end not in ids)


def test_a_context_that_overflows(simple):
    engine = Engine.load(str(simple.folder), device="cpu")
    with pytest.raises(ModelError, match="the model's context holds"):
        engine.generate(simple.frames, "a fire", max_tokens=10**6, batch_size=1)


def test_a_verdict_is_dropped():
    assert without_verdict("fire: a car burns: badly") == "a car burns: badly"
    assert without_verdict("a car burns") == "a car burns"
    assert without_verdict("fire: ") == "fire: "


def test_control_characters_are_stripped():
    assert plain(" a\x00\x1b[31mb\r\n\tc\x85 ") == "a[31mb\n\tc"


def test_an_unknown_task_lists_the_known_ones():
    with pytest.raises(ConfigError, match="known are answer, capture, complete, describe, embed"):
        find("sing")


def test_the_command_gives_the_same_bytes_with_the_resident_and_without(
    runtime,  # noqa: F811
    fake,  # noqa: F811
    simple,
    tmp_path,
):
    fake(real=True)
    frames = write_frames(tmp_path / "v.h5")
    command = ["caption-frames", "--frames", str(frames), "--model", str(simple.folder)]
    command += [
        "--model-name",
        "tiny",
        "--revision",
        "",
        "--commit-file",
        "none",
        "--dtype",
        "auto",
        "--device",
        "cpu",
    ]
    command += ["--batch-size", "2", "--threads", "1", "--idle-timeout", "30", "--prompt-id", "p"]
    command += ["--prompt", "a fire", "--system", "", "--max-tokens", "5"]
    command += ["--shown", "2", "--keep", "all"]
    for resident in ("yes", "no"):
        out = str(tmp_path / f"{resident}.jsonl")
        assert main([*command, "--resident", resident, "--out", out]) == 0
    assert (tmp_path / "yes.jsonl").read_bytes() == (tmp_path / "no.jsonl").read_bytes()
    found = texts.read(tmp_path / "no.jsonl", "texts")
    assert [(r["segment"], r["start"], r["end"]) for r in found.rows] == [
        (0, 0, 48),
        (1, 48, 96),
        (2, 96, 144),
    ]
    assert set(found.rows[0]) == {"segment", "start", "end", "text", "tokens", "cut"}
    assert main([*command, "--resident", "no", "--batch-size", "auto", "--out", "x"]) == 2


# The files


def test_texts_come_back_whatever_they_hold(tmp_path):
    rows = [{"text": text} for text in ("", "a\nb\u2028c\x85", "<|im_end|></s>", "\0")]
    texts.write(tmp_path / "t.jsonl", "texts", rows, {"model": "m"})
    assert texts.read(tmp_path / "t.jsonl", "texts").rows == rows


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("fire", "ire", "is damaged"),
        ('"version": 1', '"version": 9', "version 9, expected 'texts' version 1"),
        ('{"schema"', "{", "not a file of texts"),
    ],
)
def test_a_damaged_file_is_refused(tmp_path, old, new, message):
    path = tmp_path / "t.jsonl"
    texts.write(path, "texts", [{"text": "fire"}], {})
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(ArtifactError, match=message):
        texts.read(path, "texts")


def test_mixtures_are_refused_by_name(tmp_path):
    for name in "ab":
        texts.write(tmp_path / name, "texts", [], {"model": name})
    files = [texts.read(tmp_path / name, "texts") for name in "ab"]
    texts.check_same(files, ["hhvad"])
    with pytest.raises(ArtifactError, match="model is 'a' in one, 'b' in the other"):
        texts.check_same(files, ["model"])
