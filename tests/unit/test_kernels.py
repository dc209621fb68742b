"""What makes passes faster computes what transformers' own code computes."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from transformers import (
    GPTJConfig,
    GPTJModel,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2Config,
    Qwen2Model,
    Qwen3VLForConditionalGeneration,
)

from hhvad.mllm.kernels import (
    STRETCHES,
    align_mlps,
    attend_in_groups,
    attend_in_stretches,
    fuse_gates,
    fuse_norms,
    fuse_rotary,
)


@settings(deadline=None)
@given(st.lists(st.integers(0, 5), min_size=1, max_size=6).filter(any))
def test_each_stretch_attends_to_itself(lengths):
    torch.manual_seed(0)
    q, k, v = (torch.randn(1, 2, sum(lengths), 4, dtype=torch.float64) for _ in range(3))
    bounds = torch.tensor([0, *lengths]).cumsum(0)
    found, weights = attend_in_stretches(
        nn.Identity(), q, k, v, scaling=0.5, cu_seq_lens_q=bounds, max_length_q=max(lengths)
    )
    assert weights is None
    for start, stop in pairwise(bounds.tolist()):
        one = slice(start, stop)
        attended = (0.5 * q[:, :, one] @ k[:, :, one].transpose(2, 3)).softmax(-1) @ v[:, :, one]
        assert torch.allclose(found[:, one], attended.transpose(1, 2), atol=1e-12)


def tower(network_class: type) -> nn.Module:
    """A random vision encoder of Qwen in float32, four layers deep, windows of 2 x 2 tokens."""
    vision = {
        "depth": 4,
        "hidden_size": 32,
        "intermediate_size": 44,
        "num_heads": 2,
        "out_hidden_size": 32,
        "window_size": 56,
        "fullatt_block_indexes": [1],
        "deepstack_visual_indexes": [0],
    }
    text = {"hidden_size": 32, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 16}
    text |= {"num_hidden_layers": 1, "bos_token_id": 0, "eos_token_id": 0}
    config = network_class.config_class(vision_config=vision, text_config=text)
    torch.manual_seed(0)
    return network_class._from_config(config, attn_implementation="sdpa").eval().model.visual


@pytest.mark.parametrize(
    "network_class", [Qwen2_5_VLForConditionalGeneration, Qwen3VLForConditionalGeneration]
)
@pytest.mark.parametrize("grid", [[[2, 8, 8]], [[1, 6, 10], [2, 6, 10]]], ids=["even", "ragged"])
def test_the_vision_encoders_of_qwen(network_class, grid):
    vision = tower(network_class)
    sides = vision.config.patch_size
    values = 3 * vision.config.temporal_patch_size * sides**2
    grid = torch.tensor(grid)
    pixels = torch.randn(int(grid.prod(1).sum()), values)
    with torch.inference_mode():
        expected = vision(pixels, grid).pooler_output
        vision.config._attn_implementation = STRETCHES
        assert torch.allclose(vision(pixels, grid).pooler_output, expected, atol=1e-6)
        align_mlps(vision)
        fuse_norms(vision)
        assert torch.allclose(vision(pixels, grid).pooler_output, expected, atol=1e-5)


def test_aligned_mlps_and_fused_norms_of_a_text_decoder():
    sizes = {"hidden_size": 32, "intermediate_size": 44, "vocab_size": 64}
    shape = {"num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2}
    torch.manual_seed(0)
    model = Qwen2Model(Qwen2Config(**sizes, **shape, bos_token_id=0, eos_token_id=0)).eval()
    for norm in model.modules():
        if type(norm).__name__ == "Qwen2RMSNorm":
            nn.init.normal_(norm.weight, 1.0)
    ids = torch.arange(12)[None]
    with torch.inference_mode():
        expected = model(ids).last_hidden_state
        align_mlps(model)
        fuse_norms(model)
        assert model.layers[1].mlp.down_proj.weight.shape == (32, 64)
        assert torch.allclose(model(ids).last_hidden_state, expected, atol=1e-5)
        assert "forward" in vars(model.norm)


def rotate(states, cos, sin):
    """What hhvad.mllm.fused.rotate computes, of states [B, T, H, D]."""
    first, second = states.chunk(2, dim=-1)
    half = torch.cat([-second, first], dim=-1)
    return states * cos[:, :, None] + half * sin[:, :, None]


def gate(gates, values):
    return nn.functional.silu(gates) * values


def counting(function):
    def counted(*tensors):
        counted.calls += 1
        return function(*tensors)

    counted.calls = 0
    return counted


def test_rotary_positions_and_gates_of_a_text_decoder():
    sizes = {"hidden_size": 32, "intermediate_size": 44, "vocab_size": 64}
    shape = {"num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2}
    torch.manual_seed(0)
    model = Qwen2Model(Qwen2Config(**sizes, **shape, bos_token_id=0, eos_token_id=0)).eval()
    ids = torch.arange(12)[None]
    turned, gated = counting(rotate), counting(gate)
    with torch.inference_mode():
        expected = model(ids).last_hidden_state
        fuse_rotary(model, turned)
        fuse_gates(model, gated)
        tried = turned.calls
        assert torch.allclose(model(ids).last_hidden_state, expected, atol=1e-6)
    assert (turned.calls - tried, gated.calls) == (4, 2)  # queries and keys, of two layers


@pytest.mark.parametrize(
    "network_class", [Qwen2_5_VLForConditionalGeneration, Qwen3VLForConditionalGeneration]
)
def test_rotary_positions_of_the_vision_encoders_of_qwen(network_class):
    vision, grid = tower(network_class), torch.tensor([[1, 6, 10]])
    pixels = torch.randn(60, 3 * vision.config.temporal_patch_size * vision.config.patch_size**2)
    turned = counting(rotate)
    with torch.inference_mode():
        expected = vision(pixels, grid).pooler_output
        fuse_rotary(vision, turned)
        tried = turned.calls
        assert torch.allclose(vision(pixels, grid).pooler_output, expected, atol=1e-5)
    assert turned.calls - tried == 8


def test_other_rotary_positions_are_left_alone():
    """GPT-J turns neighbouring numbers, not halves, by a function of the same name."""
    config = GPTJConfig(n_embd=32, n_head=2, n_layer=1, vocab_size=64, rotary_dim=16)
    model, ids = GPTJModel(config).eval(), torch.arange(12)[None]
    with torch.inference_mode():
        expected = model(ids).last_hidden_state
        fuse_rotary(model, rotate)
        assert torch.equal(model(ids).last_hidden_state, expected)


@pytest.mark.parametrize("rows", [1, 2])
def test_heads_that_share_keys_attend_in_groups(rows):
    torch.manual_seed(0)
    q = torch.randn(2, 6, 3, 4, dtype=torch.float64)
    k, v = (torch.randn(2, 2, 7, 4, dtype=torch.float64) for _ in range(2))
    mask = torch.rand(rows, 1, 3, 7) < 0.7
    mask[..., 0] = True
    module = nn.Identity()
    module.num_key_value_groups = 3
    found, weights = attend_in_groups(module, q, k, v, mask, scaling=0.5)
    assert weights is None
    scores = 0.5 * q @ k.repeat_interleave(3, dim=1).transpose(2, 3)
    attended = scores.masked_fill(~mask, float("-inf")).softmax(-1) @ v.repeat_interleave(3, dim=1)
    assert torch.allclose(found, attended.transpose(1, 2), atol=1e-12)


@pytest.mark.skipif(not find_spec("triton"), reason="triton is not installed: its kernels")
def test_triton_kernels_in_its_interpreter(tmp_path):
    """Without a GPU Triton can only run its kernels in an interpreter, chosen at its import."""
    script = tmp_path / "interpreted.py"
    script.write_text(
        """
import torch
from test_kernels import gate, rotate
from hhvad.mllm import float8, fused

torch.manual_seed(0)
for batch, length, heads, width, angles in ((1, 3, 2, 16, 1), (2, 5, 7, 80, 1), (2, 4, 28, 128, 2)):
    cos, sin = (torch.randn(angles, length, width) for _ in range(2))
    plain = torch.randn(batch, length, heads, width)
    strided = torch.randn(length, batch, heads, 3, width).transpose(0, 1)[:, :, :, 1]
    for states in (plain, strided):
        expected = rotate(states, cos, sin)
        assert torch.allclose(fused.rotate(states, cos, sin), expected, atol=1e-6)
gates, values = torch.randn(2, 5000), torch.randn(2, 5000)
expected = gate(gates, values)
assert torch.allclose(fused.gate(gates, values), expected, atol=1e-6)
rows = torch.randn(4, 5000)
rows[0] = 0
found, scales = fused.to_float8(rows)
expected, its_scales = float8.to_float8(rows)
assert torch.allclose(scales, its_scales)
# The interpreter forgets to carry where it rounds up to a power of two, and rounds subnormals down.
right = (torch.frexp(expected.float())[0].abs() != 0.5) & (expected.float().abs() >= 2**-6)
assert right.float().mean() > 0.8
assert torch.equal(found.float()[right], expected.float()[right])
"""
    )
    tests = Path(__file__).parent
    paths = [str(tests), str(tests.parent), str(tests.parent.parent), *sys.path]
    done = subprocess.run(
        [sys.executable, script],
        env={**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
