"""Matrix products in float8: half the bytes and, on GPUs from Ada and Hopper on, twice the rate.

What it costs in accuracy is in benchmarks/float8.md. Nothing is calibrated: a weight matrix is
scaled by its own rows, what enters it by each token's largest value.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

try:
    from hhvad.mllm import fused
except ImportError:  # a build of torch without Triton
    fused = None  # type: ignore[assignment]

_LARGEST = torch.finfo(torch.float8_e4m3fn).max
_UNIT = 16  # torch's float8 products take sides in whole units


class Float8Linear(nn.Module):
    """A linear layer whose product is computed in float8, summed in float32."""

    weight: Tensor  # [out, in]
    scale: Tensor  # [1, out]
    bias: Tensor | None

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        weight, scale = to_float8(linear.weight.detach())
        self.register_buffer("weight", weight)
        self.register_buffer("scale", scale.t().contiguous())
        self.register_buffer("bias", None if linear.bias is None else linear.bias.detach())

    def forward(self, values: Tensor) -> Tensor:
        """values [..., in] to [..., out], of the same dtype."""
        rows, scale = to_float8(values.reshape(-1, self.in_features))
        found = torch._scaled_mm(
            rows,
            self.weight.t(),
            scale_a=scale,
            scale_b=self.scale,
            bias=self.bias,
            out_dtype=values.dtype,
            use_fast_accum=True,
        )
        return found.reshape(*values.shape[:-1], self.out_features)


def to_float8(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Rows [N, K] in float8 e4m3 and their scales [N, 1] float32, with rows = float8 * scale."""
    if rows.is_cuda and fused is not None:
        return fused.to_float8(rows.contiguous())
    largest = torch.linalg.vector_norm(rows, float("inf"), dim=1, keepdim=True, dtype=torch.float32)
    scale = largest.clamp(min=1e-12) / _LARGEST
    return (rows / scale).to(torch.float8_e4m3fn), scale


def use_float8(model: nn.Module) -> None:
    """Replace every linear layer of `model` whose sides are whole units of 16."""
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if type(child) is nn.Linear and not (
                child.in_features % _UNIT or child.out_features % _UNIT
            ):
                setattr(parent, name, Float8Linear(child))
