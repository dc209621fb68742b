"""Triton kernels: one pass over memory where torch takes several. For GPUs; see kernels.py."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor


def rotate(states: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary positions, in place and in float32: states [B, T, H, D], cos and sin [1 or B, T, D].

    Computes x * cos + (-x2, x1) * sin, where x1 and x2 are the halves of x. Returns states.
    """
    batch, length, heads, width = states.shape
    cos, sin = cos.contiguous(), sin.contiguous()
    block = triton.next_power_of_2(width // 2)
    together = min(triton.next_power_of_2(heads), max(1, 2048 // block))
    _rotate[(batch * length, triton.cdiv(heads, together))](
        states,
        cos,
        sin,
        *states.stride()[:3],
        length,
        heads,
        0 if len(cos) == 1 else length * width,
        HALF=width // 2,
        BLOCK=block,
        HEADS=together,
    )
    return states


@triton.jit
def _rotate(
    states, cos, sin, of_batch, of_token, of_head, length, heads, cos_batch,
    HALF: tl.constexpr, BLOCK: tl.constexpr, HEADS: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    batch, token = row // length, row % length
    head = tl.program_id(1) * HEADS + tl.arange(0, HEADS)[:, None]
    place = tl.arange(0, BLOCK)[None, :]
    mask = (head < heads) & (place < HALF)
    first = states + batch * of_batch + token * of_token + head * of_head + place
    angle = batch * cos_batch + token * 2 * HALF + place
    x1 = tl.load(first, mask).to(tl.float32)
    x2 = tl.load(first + HALF, mask).to(tl.float32)
    c1 = tl.load(cos + angle, place < HALF).to(tl.float32)
    c2 = tl.load(cos + angle + HALF, place < HALF).to(tl.float32)
    s1 = tl.load(sin + angle, place < HALF).to(tl.float32)
    s2 = tl.load(sin + angle + HALF, place < HALF).to(tl.float32)
    tl.store(first, (x1 * c1 - x2 * s1).to(states.dtype.element_ty), mask)
    tl.store(first + HALF, (x2 * c2 + x1 * s2).to(states.dtype.element_ty), mask)


def gate(gates: Tensor, values: Tensor) -> Tensor:
    """silu(gates) * values of two contiguous tensors of one shape, in float32; kept in `gates`."""
    size = 4096
    _gate[(triton.cdiv(gates.numel(), size),)](gates, values, gates.numel(), SIZE=size)
    return gates


@triton.jit
def _gate(gates, values, count, SIZE: tl.constexpr):
    place = tl.program_id(0).to(tl.int64) * SIZE + tl.arange(0, SIZE)
    x = tl.load(gates + place, place < count).to(tl.float32)
    y = tl.load(values + place, place < count).to(tl.float32)
    tl.store(gates + place, (x * tl.sigmoid(x) * y).to(gates.dtype.element_ty), place < count)


def to_float8(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Contiguous rows [N, K] in float8 e4m3 and their scales [N, 1] float32."""
    count, width = rows.shape
    found = torch.empty(rows.shape, dtype=torch.float8_e4m3fn, device=rows.device)
    scales = torch.empty(count, 1, dtype=torch.float32, device=rows.device)
    block = min(triton.next_power_of_2(width), 4096)
    _to_float8[(count,)](rows, found, scales, WIDTH=width, BLOCK=block)
    return found, scales


@triton.jit
def _to_float8(rows, found, scales, WIDTH: tl.constexpr, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    place = tl.arange(0, BLOCK)
    largest = tl.zeros([BLOCK], tl.float32)
    for start in range(0, WIDTH, BLOCK):
        x = tl.load(rows + row * WIDTH + start + place, start + place < WIDTH, 0.0).to(tl.float32)
        largest = tl.maximum(largest, tl.abs(x))
    scale = tl.maximum(tl.max(largest, 0), 1e-12) / 448.0
    tl.store(scales + row, scale)
    for start in range(0, WIDTH, BLOCK):
        x = tl.load(rows + row * WIDTH + start + place, start + place < WIDTH, 0.0).to(tl.float32)
        values = (x / scale).to(tl.float8e4nv)
        tl.store(found + row * WIDTH + start + place, values, start + place < WIDTH)
