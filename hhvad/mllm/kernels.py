"""What makes a model's passes faster without changing what they compute.

transformers writes its models to be read; three places cost more than their arithmetic. Measured in
benchmarks/capture.md.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface

# transformers tells the bounds of stretches only to an attention with "flash" in its name
STRETCHES = "stretches_flash"


def attend_in_stretches(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    scaling: float,
    cu_seq_lens_q: Tensor,
    max_length_q: int,
    **_: Any,
) -> tuple[Tensor, None]:
    """Attention within stretches of one sequence, all stretches of a length in one call.

    For the vision encoders of Qwen: the frames of a batch are one sequence, whose windows attend to
    themselves alone; transformers' `sdpa` makes a call a window, thousands a layer. query, key,
    value [1, H, T, D]; stretch i is tokens cu_seq_lens_q[i] to cu_seq_lens_q[i + 1], the longest
    has max_length_q. Returns [1, T, H, D].
    """
    heads, total, width = query.shape[1:]
    count = len(cu_seq_lens_q) - 1
    tokens = [states[0].transpose(0, 1) for states in (query, key, value)]  # each [T, H, D]

    def attend(stretches: list[Tensor]) -> Tensor:
        """n stretches of one length [n, L, H, D]."""
        q, k, v = (states.transpose(1, 2) for states in stretches)
        return nn.functional.scaled_dot_product_attention(q, k, v, scale=scaling).transpose(1, 2)

    if count * max_length_q == total:  # one length only: known without waiting for the device
        shape = (count, max_length_q, heads, width)
        found = attend([states.reshape(shape) for states in tokens])
        return found.reshape(1, total, heads, width), None
    starts, lengths = cu_seq_lens_q[:-1].cpu(), cu_seq_lens_q.cpu().diff()
    found = torch.empty_like(tokens[0])
    for length in sorted(set(lengths.tolist())):
        places = starts[lengths == length, None] + torch.arange(length)
        places = places.to(query.device)
        found[places] = attend([states[places] for states in tokens])
    return found[None], None


AttentionInterface.register(STRETCHES, attend_in_stretches)


def fuse_norms(model: nn.Module) -> None:
    """Have torch's own kernel compute every RMSNorm of `model`, as Llama and Qwen define it.

    transformers writes it as six operations on a float32 copy. torch's kernel computes in float32
    too and rounds once, at the end.
    """
    module: Any
    for module in model.modules():
        if type(module).__name__.endswith("RMSNorm") and hasattr(module, "variance_epsilon"):
            module.forward = partial(
                nn.functional.rms_norm,
                normalized_shape=tuple(module.weight.shape),
                weight=module.weight,
                eps=module.variance_epsilon,
            )


def align_mlps(model: nn.Module, unit: int = 64) -> None:
    """Widen gated MLPs of `model` with zeros to whole units: their sums stay as they are.

    Matrix products of another width run on the kernels of older GPUs (Qwen2.5-VL's vision encoder
    has 3420). An MLP is a module with gate_proj, up_proj and down_proj.
    """
    module: Any
    for module in model.modules():
        if not all(hasattr(module, name) for name in ("gate_proj", "up_proj", "down_proj")):
            continue
        more = -module.down_proj.in_features % unit
        if not more:
            continue
        for linear in (module.gate_proj, module.up_proj):
            _set(linear, "weight", nn.functional.pad(linear.weight, (0, 0, 0, more)))
            if linear.bias is not None:
                _set(linear, "bias", nn.functional.pad(linear.bias, (0, more)))
            linear.out_features += more
        _set(module.down_proj, "weight", nn.functional.pad(module.down_proj.weight, (0, more)))
        module.down_proj.in_features += more


def _set(linear: nn.Linear, name: str, values: Tensor) -> None:
    setattr(linear, name, nn.Parameter(values, requires_grad=False))
