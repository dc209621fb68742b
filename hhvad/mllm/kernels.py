"""What makes a model's passes faster without changing what they compute.

transformers writes its models to be read; some places cost more than their arithmetic. Measured in
benchmarks/capture.md.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from types import FunctionType, MethodType
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

try:
    from hhvad.mllm import fused
except ImportError:  # a build of torch without Triton
    fused = None  # type: ignore[assignment]

log = logging.getLogger("hhvad")


def speed_up(model: nn.Module, decoder: nn.Module) -> None:
    """All of it, for a model on a GPU; decoder: the text decoder in `model`."""
    align_mlps(model)
    fuse_norms(model)
    decoder.config._attn_implementation = GROUPS  # type: ignore[union-attr]
    if fused is None:
        log.info("triton is not installed: rotary positions and gates take several passes each")
    else:
        fuse_rotary(model, fused.rotate)
        fuse_gates(model, fused.gate)


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


GROUPS = "groups"


def attend_in_groups(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    **rest: Any,
) -> tuple[Tensor, None]:
    """Attention of heads that share keys and values, without a copy of these for each head.

    query [B, H, T, D], key and value [B, G, S, D]: under a mask [1 or B, 1, T, S] the heads of a
    group are further rows of one head. Without one transformers' `sdpa` does as well. Returns
    [B, T, H, D].
    """
    batch, heads, length, width = query.shape
    groups = key.shape[1]
    if attention_mask is None or heads == groups or attention_mask.shape[1] != 1:
        found: tuple[Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, scaling=scaling, **rest
        )
        return found
    rows = query.reshape(batch, groups, -1, width)
    mask = attention_mask.repeat(1, 1, heads // groups, 1)
    out = nn.functional.scaled_dot_product_attention(rows, key, value, mask, scale=scaling)
    return out.reshape(batch, heads, length, width).transpose(1, 2), None


AttentionInterface.register(GROUPS, attend_in_groups)
AttentionMaskInterface.register(GROUPS, sdpa_mask)


def fuse_rotary(model: nn.Module, rotate: Callable[[Tensor, Tensor, Tensor], Tensor]) -> None:
    """Have `rotate` (hhvad.mllm.fused) turn queries and keys by their positions.

    transformers takes some ten passes over both, for vision encoders in float32. Families define
    rotary positions in several ways; an attention is changed where its own function gives what
    `rotate` gives.
    """

    def text(q: Tensor, k: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, ...]:
        return tuple(rotate(x.transpose(1, 2), cos, sin).transpose(1, 2) for x in (q, k))

    def vision(q: Tensor, k: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, ...]:
        return tuple(rotate(x[None], cos[None], sin[None])[0] for x in (q, k))

    ours: dict[str, tuple[Any, tuple[int, ...], tuple[int, ...]]] = {
        "apply_rotary_pos_emb": (text, (1, 2, 3), (1, 3)),
        "apply_rotary_pos_emb_vision": (vision, (3, 2), (3,)),
    }
    changed: dict[Any, Any] = {}
    for module in model.modules():
        forward: Any = type(module).forward
        for name in set(ours) & set(getattr(forward, "__code__", text.__code__).co_names):
            if forward not in changed:
                function, shape, angles = ours[name]
                device = next(module.parameters()).device
                same = _same(forward.__globals__[name], function, shape, angles, device)
                changed[forward] = _with(forward, name, function) if same else forward
            module.forward = MethodType(changed[forward], module)


def _same(
    theirs: Any, ours: Any, shape: tuple[int, ...], angles: tuple[int, ...], device: torch.device
) -> bool:
    """Whether two functions turn queries and keys [*shape, 16] alike by cos and sin [*angles, 16].

    A function that does not take them is another one.
    """
    generator = torch.Generator().manual_seed(0)
    q, k = (torch.randn(*shape, 16, generator=generator).to(device) for _ in range(2))
    cos, sin = (torch.randn(*angles, 16, generator=generator).to(device) for _ in range(2))
    try:
        expected = theirs(q, k, cos, sin)
    except (TypeError, ValueError, RuntimeError):
        return False
    found = ours(q.clone(), k.clone(), cos, sin)
    return all(torch.allclose(x, y, atol=1e-5) for x, y in zip(expected, found, strict=True))


def _with(function: Any, name: str, value: Any) -> Any:
    """A copy of a function that finds `value` under a global name."""
    names = {**function.__globals__, name: value}
    copied = FunctionType(
        function.__code__, names, name, function.__defaults__, function.__closure__
    )
    copied.__kwdefaults__ = function.__kwdefaults__
    return copied


def fuse_gates(model: nn.Module, gate: Callable[[Tensor, Tensor], Tensor]) -> None:
    """Have `gate` (hhvad.mllm.fused) compute the gates of MLPs whose activation is SiLU."""

    def forward(mlp: Any, states: Tensor) -> Tensor:
        gates, values = mlp.gate_proj(states), mlp.up_proj(states)
        found: Tensor = mlp.down_proj(gate(gates, values))
        return found

    module: Any
    for module in model.modules():
        if _is_gated(module) and type(module.act_fn).__name__ in ("SiLU", "SiLUActivation"):
            module.forward = partial(forward, module)


def _is_gated(module: nn.Module) -> bool:
    return all(hasattr(module, name) for name in ("gate_proj", "up_proj", "down_proj", "act_fn"))


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
        if not _is_gated(module):
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
