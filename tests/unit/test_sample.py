"""Sampled answers: the distribution, and that they depend on nothing else that is asked."""

from __future__ import annotations

import numpy as np
import pytest
import tiny_checkpoints
import torch
from hypothesis import given
from hypothesis import strategies as st

from hhvad.artifacts import texts
from hhvad.cli import main
from hhvad.errors import ModelError
from hhvad.mllm.load import TextDecoder, load
from hhvad.mllm.sample import Sampling, draw


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_checkpoints.llama(tmp_path_factory.mktemp("llama") / "m")


def chat(text):
    return [{"role": "user", "content": text}]


def top_p_by_hand(logits, draw, temperature, top_p):
    """The token that a draw of [0, 1) picks."""
    weights = np.exp((logits - logits.max()) / temperature)
    weights /= weights.sum()
    order = sorted(range(len(weights)), key=lambda token: (-weights[token], token))
    kept, total = [], 0.0
    for token in order:
        kept.append(token)
        total += weights[token]
        if total >= top_p:
            break
    reached = 0.0
    for token in kept:
        reached += weights[token] / total
        if draw < reached:
            return token
    return kept[-1]


@given(
    st.lists(st.integers(-6, 6), min_size=1, max_size=8),
    st.floats(0, 1, exclude_max=True),
    st.sampled_from([0.3, 0.6, 1.0]),
    st.sampled_from([0.05, 0.55, 0.9]),
)
def test_draws_follow_the_top_p_distribution(logits, u, temperature, top_p):
    given_logits = torch.tensor([logits], dtype=torch.float64)
    found = draw(given_logits, torch.tensor([u]), Sampling(temperature, top_p, [0])).item()
    wanted = top_p_by_hand(np.array(logits, float), np.float32(u), temperature, top_p)
    near = [
        top_p_by_hand(np.array(logits, float), u + d, temperature, top_p) for d in (-1e-6, 1e-6)
    ]
    assert found == wanted or found in near


def test_shares_of_many_draws():
    logits = torch.log(torch.tensor([[0.5, 0.3, 0.15, 0.05]])).repeat(20_000, 1)
    draws = torch.rand(20_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = draw(logits, draws, Sampling(1.0, 0.9, [0])).bincount(minlength=4) / 20_000
    np.testing.assert_allclose(found, [0.5 / 0.95, 0.3 / 0.95, 0.15 / 0.95, 0], atol=0.02)


def test_an_answer_does_not_depend_on_its_company(folder):
    model = load(str(folder), device="cpu")
    assert isinstance(model, TextDecoder)
    asked = [chat("a fire"), chat("a robbery, a crash"), chat("a fire"), chat("a frie")]
    limits = {"max_tokens": 8, "batch_size": 4}
    together = model.complete(asked, **limits, sampling=Sampling(0.9, 0.95, [1, 2, 3, 4]))
    alone = [
        model.complete([one], **limits, sampling=Sampling(0.9, 0.95, [seed]))[0]
        for seed, one in enumerate(asked, 1)
    ]
    assert together == alone
    assert together[0] != together[2]  # the same question, drawn twice


@pytest.mark.parametrize(("temperature", "top_p"), [(0, 0.9), (-1, 0.9), (1, 0), (1, 1.5)])
def test_what_is_no_distribution_is_refused(temperature, top_p):
    with pytest.raises(ModelError, match="sampling needs"):
        Sampling(temperature, top_p, [])


def test_the_command_gives_the_same_bytes_again_and_others_for_another_seed(folder, tmp_path):
    rows = [{"id": str(16 * n), "messages": chat("a fire")} for n in range(3)]
    texts.write(tmp_path / "in.jsonl", "requests", rows, {"video": "v"})
    command = ["complete-texts", "--requests", str(tmp_path / "in.jsonl"), "--revision", ""]
    command += ["--model", str(folder), "--model-name", "tiny", "--dtype", "auto"]
    command += ["--device", "cpu", "--batch-size", "2", "--threads", "1", "--resident", "no"]
    command += ["--idle-timeout", "30", "--max-tokens", "6", "--temperature", "1", "--top-p", "1"]
    command += ["--commit-file", ""]
    found = []
    for name, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        out = tmp_path / f"{name}.jsonl"
        assert main([*command, "--seed", seed, "--out", str(out)]) == 0
        found.append((out.read_bytes(), texts.read(out, "answers").rows))
    assert found[0][0] == found[1][0]
    assert found[0][1] != found[2][1]
    assert len({row["answer"] for row in found[0][1]}) > 1  # each window draws for itself
