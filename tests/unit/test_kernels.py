"""What makes passes faster computes what transformers' own code computes."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from transformers import (
    Qwen2_5_VLForConditionalGeneration,
    Qwen2Config,
    Qwen2Model,
    Qwen3VLForConditionalGeneration,
)

from hhvad.mllm.kernels import STRETCHES, align_mlps, attend_in_stretches, fuse_norms


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
