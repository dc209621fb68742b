"""Chat messages against transformers' own generate."""

from __future__ import annotations

import numpy as np
import pytest
import tiny_checkpoints
import torch
import transformers
from test_capture import FAMILIES, Family, make

from hhvad.artifacts import texts
from hhvad.cli import main
from hhvad.errors import ModelError
from hhvad.methods.lavad.prompts import CHOICES
from hhvad.mllm.complete import token_ids
from hhvad.mllm.engine import Engine
from hhvad.mllm.head import plain
from hhvad.mllm.load import load
from hhvad.mllm.tasks import check_can

LIMIT = 8


@pytest.fixture(scope="module", params=FAMILIES)
def family(request, tmp_path_factory) -> Family:
    return make(request.param, tmp_path_factory.mktemp(request.param))


def chat(*contents, system=""):
    first = [{"role": "system", "content": system}] if system else []
    return [*first, *({"role": "user", "content": text} for text in contents)]


def test_answers_equal_plain_generation_in_any_company(family):
    engine = Engine.load(str(family.folder), device="cpu")
    words = transformers.AutoTokenizer.from_pretrained(family.folder)
    model = family.model().eval()
    asked = ["a fire", "a robbery, then a crash?", "a fire", "fires"]
    found = engine.complete(
        [chat(text, system="Be brief.") for text in asked], max_tokens=LIMIT, batch_size=2
    )
    for text, answer in zip(asked, found, strict=True):
        shown = f"<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n{text}<|im_end|>\n"
        ids = words(shown + "<|im_start|>assistant\n", return_tensors="pt").input_ids
        with torch.no_grad():
            out = model.generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                do_sample=False,
                max_new_tokens=LIMIT,
                eos_token_id=2,
                pad_token_id=0,
            )[0, ids.shape[1] :].tolist()
        assert answer.tokens == (out.index(2) if 2 in out else LIMIT)
        assert answer.cut == (2 not in out)
        assert answer.text == plain(words.decode(out, skip_special_tokens=True))


def test_choices_weigh_as_in_a_plain_pass_in_any_company(family):
    engine = Engine.load(str(family.folder), device="cpu")
    words = transformers.AutoTokenizer.from_pretrained(family.folder)
    model = family.model().eval()
    asked = [chat(text, system="Be brief.") for text in ("a fire", "a robbery?", "fires!")]
    found = engine.choose(asked, CHOICES, batch_size=2)
    assert found.shape == (3, len(CHOICES))
    np.testing.assert_allclose(
        engine.choose(asked[2:], CHOICES, batch_size=1), found[2:], atol=1e-4
    )
    for messages, row in zip(asked, found, strict=True):
        ids = token_ids(words, messages)
        for choice, weight in zip(CHOICES[:3], row, strict=False):
            said = words(choice)["input_ids"]
            with torch.no_grad():
                logits = model(input_ids=torch.tensor([ids + said])).logits[0].double()
            logs = logits.log_softmax(dim=-1)[len(ids) - 1 : -1]
            want = sum(logs[place, token].item() for place, token in enumerate(said))
            assert weight == pytest.approx(want, abs=1e-4)
    with pytest.raises(ModelError, match="has no token"):
        engine.choose(asked, [""], batch_size=1)


def test_special_tokens_in_text_are_text(family):
    words = transformers.AutoTokenizer.from_pretrained(family.folder)
    plain_ids = token_ids(words, chat("a fire"))
    for token, number in words.get_added_vocab().items():
        ids = token_ids(words, chat(f"a {token} fire"))
        assert ids.count(number) == plain_ids.count(number), token
        assert f"a {token} fire" in words.decode(ids)


def test_a_context_that_overflows_names_the_request(family):
    engine = Engine.load(str(family.folder), device="cpu")
    with pytest.raises(ModelError, match=r"request 0 takes \d+ tokens"):
        engine.complete([chat("a")], max_tokens=10**7, batch_size=1)


def test_a_template_without_a_system_role(family):
    words = transformers.AutoTokenizer.from_pretrained(family.folder)
    words.chat_template = (
        "{% for m in messages %}{% if m['role'] == 'system' %}{{ raise_exception('no') }}"
        "{% endif %}<{{ m['content'] }}>{% endfor %}"
    )
    assert words.decode(token_ids(words, chat("a", system="Brief."))) == "<Brief.\na>"


def test_the_command(family, tmp_path):
    rows = [{"id": f"r{i}", "messages": chat(text)} for i, text in enumerate(("a", "a fire"))]
    texts.write(tmp_path / "in.jsonl", "requests", rows, {"video": "v"})
    command = ["complete-texts", "--requests", str(tmp_path / "in.jsonl"), "--revision", ""]
    command += ["--commit-file", "none"]
    command += ["--model", str(family.folder), "--model-name", "tiny", "--dtype", "auto"]
    command += ["--device", "cpu", "--batch-size", "2", "--threads", "1", "--resident", "no"]
    command += ["--idle-timeout", "30", "--max-tokens", "3", "--top-p", "0.9", "--seed", "1"]
    command += ["--temperature", "0"]
    assert main([*command, "--out", str(tmp_path / "out.jsonl")]) == 0
    found = texts.read(tmp_path / "out.jsonl", "answers")
    assert [row["id"] for row in found.rows] == ["r0", "r1"]
    assert set(found.rows[0]) == {"id", "answer", "tokens", "cut"}
    chosen = ["--choice=[0]", "--choice=[0.1]", "--out", str(tmp_path / "chosen.jsonl")]
    assert main([*command, *chosen]) == 0
    weighed = texts.read(tmp_path / "chosen.jsonl", "answers")
    assert weighed.provenance["choices"] == ["[0]", "[0.1]"]
    for row in weighed.rows:
        assert row["answer"] == max(zip(row["logprobs"], ("[0]", "[0.1]"), strict=True))[1]
    texts.write(tmp_path / "in.jsonl", "requests", [{"id": 1, "messages": "a"}], {})
    assert main([*command, "--out", str(tmp_path / "out.jsonl")]) == 2


@pytest.mark.parametrize("tie", [False, True])
def test_a_text_decoder_of_its_own(tmp_path, tie):
    folder = tiny_checkpoints.llama(tmp_path / "llama", tie=tie)
    found = load(str(folder), device="cpu")
    words = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
    messages = chat("a fire", system="Be brief.")
    (answer,) = found.complete([messages], max_tokens=LIMIT, batch_size=4)
    ids = words(
        words.apply_chat_template(messages, tokenize=False, add_generation_prompt=True),
        return_tensors="pt",
    ).input_ids
    with torch.no_grad():
        out = model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            do_sample=False,
            max_new_tokens=LIMIT,
            eos_token_id=2,
            pad_token_id=0,
        )[0, ids.shape[1] :].tolist()
    assert answer.text == plain(words.decode(out, skip_special_tokens=True))
    assert answer.tokens == (out.index(2) if 2 in out else LIMIT)
    weights = found.choose([messages], ["a", "[0.3]"], batch_size=4)
    assert weights.shape == (1, 2)
    assert (weights < 0).all()
    with pytest.raises(ModelError, match="llama, float32 on cpu: this kind of model cannot gen"):
        check_can(found, "generate")


def test_a_model_that_would_think_is_told_not_to(tmp_path):
    found = load(str(tiny_checkpoints.qwen3(tmp_path / "qwen3")), device="cpu")
    ids = token_ids(found.tokenizer, chat("a fire", system="Be brief."))
    assert found.tokenizer.decode(ids).endswith("assistant\n<think>\n\n</think>\n\n")
    assert len(found.complete([chat("a fire")], max_tokens=3, batch_size=1)) == 1
