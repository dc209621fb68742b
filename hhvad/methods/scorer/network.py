"""The UR-DMU head in numpy: class vectors of frames to scores.

Holmes-VAU scores every 16th frame by its vision encoder's class vector with the network of UR-DMU
(Zhou et al. 2023): a convolution over time, two blocks of attention in which a fixed average over
neighbours stands beside each head, and two memories, of ordinary and of anomalous patterns.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hhvad.errors import DataError, ModelError

Floats = NDArray[np.float32]

HEADS = 4
BLOCKS = 2
EPSILON = 1e-5


def shapes(width: int, memory: int = 60, hidden: int = 512) -> dict[str, tuple[int, ...]]:
    """Every parameter's shape: `width` numbers a frame, `memory` patterns a memory, of `hidden`."""
    inner = 2 * hidden  # HEADS heads of attention and of average, of hidden / HEADS numbers
    found: dict[str, tuple[int, ...]] = {
        "embedding.conv_1.0.weight": (hidden, width, 3),
        "embedding.conv_1.0.bias": (hidden,),
    }
    for block in range(BLOCKS):
        for part in (0, 1):
            for kind in ("weight", "bias"):
                found[f"self_attn.layers.{block}.{part}.norm.{kind}"] = (hidden,)
        at = f"self_attn.layers.{block}"
        found |= {
            f"{at}.0.fn.to_qkv.weight": (2 * inner, hidden),
            f"{at}.0.fn.to_out.0.weight": (hidden, inner),
            f"{at}.0.fn.to_out.0.bias": (hidden,),
        }
        for layer in (0, 3):
            found[f"{at}.1.fn.net.{layer}.weight"] = (hidden, hidden)
            found[f"{at}.1.fn.net.{layer}.bias"] = (hidden,)
    found |= {f"{name}memory.memory_block": (memory, hidden) for name in "AN"}
    for name in ("encoder_mu.0", "encoder_var.0"):
        found |= {f"{name}.weight": (hidden, hidden), f"{name}.bias": (hidden,)}
    return found | {
        "cls_head.mlp.0.weight": (128, 2 * hidden),
        "cls_head.mlp.0.bias": (128,),
        "cls_head.mlp.2.weight": (1, 128),
        "cls_head.mlp.2.bias": (1,),
    }


def check(given: Mapping[str, tuple[int, ...]], source: str) -> None:
    """ModelError names the first parameter that is unknown, missing or of another shape."""
    first, pattern = given.get("embedding.conv_1.0.weight"), given.get("Amemory.memory_block")
    hidden, width = first[:2] if first and len(first) == 3 else (512, 1024)
    wanted = shapes(width, pattern[0] if pattern else 60, hidden)
    for name in given:
        if name not in wanted:
            raise ModelError(f"{source}: parameter {name!r} is none of a UR-DMU head")
    for name, shape in wanted.items():
        if name not in given:
            raise ModelError(f"{source}: parameter {name!r} of the UR-DMU head is missing")
        if tuple(given[name]) != shape:
            raise ModelError(
                f"{source}: parameter {name!r} has shape {list(given[name])}, not {list(shape)}"
            )


def read(path: Path) -> dict[str, Floats]:
    """The parameters of a file of convert-scorer. Raises ModelError."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        weights = load_file(path)
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{path}: cannot be read as safetensors ({error})") from error
    check({name: tensor.shape for name, tensor in weights.items()}, str(path))
    return weights


def score(weights: Mapping[str, Floats], vectors: Floats) -> Floats:
    """Scores [T] from 0 to 1 of the class vectors [T, width] of a video's dense frames."""
    conv = weights["embedding.conv_1.0.weight"]
    if vectors.ndim != 2 or not len(vectors) or vectors.shape[1] != conv.shape[1]:
        raise DataError(
            f"vectors have shape {list(vectors.shape)}, the scorer reads [frames, {conv.shape[1]}]"
        )
    count = len(vectors)
    padded = np.pad(vectors.astype(np.float32), ((1, 1), (0, 0)))
    x = sum(padded[k : k + count] @ conv[:, :, k].T for k in range(3))
    x = np.maximum(x + weights["embedding.conv_1.0.bias"], 0)
    average = neighbours(count)
    for block in range(BLOCKS):
        at = f"self_attn.layers.{block}"
        y = _norm(weights, f"{at}.0.norm", x) @ weights[f"{at}.0.fn.to_qkv.weight"].T
        q, k, v, t = (_heads(part) for part in np.split(y, 4, axis=1))
        scale = np.float32(q.shape[-1] ** -0.5)
        mixed = np.concatenate(
            [_softmax(q @ k.transpose(0, 2, 1) * scale) @ v, average @ t], axis=2
        )
        joined = mixed.transpose(1, 0, 2).reshape(count, -1)
        x = x + _linear(weights, f"{at}.0.fn.to_out.0", joined)
        inner = _linear(weights, f"{at}.1.fn.net.0", _norm(weights, f"{at}.1.norm", x))
        x = x + _linear(weights, f"{at}.1.fn.net.3", _gelu(inner))
    memories = sum(_recall(weights, name, x) for name in "AN")
    y = np.concatenate([x, memories], axis=1)
    hidden = np.maximum(_linear(weights, "cls_head.mlp.0", y), 0)
    return np.asarray(_sigmoid(_linear(weights, "cls_head.mlp.2", hidden))[:, 0], np.float32)


def neighbours(count: int) -> Floats:
    """Weights [T, T] of neighbours: exp(-distance / e), each column divided by its sum."""
    place = np.arange(count)
    kernel = np.exp(-np.abs(place[:, None] - place) / np.e)
    return np.asarray(kernel / kernel.sum(axis=0), np.float32)


def _recall(weights: Mapping[str, Floats], name: str, x: Floats) -> Floats:
    """What a memory holds of each frame."""
    memory = weights[f"{name}memory.memory_block"]
    strength = _sigmoid(x @ memory.T / np.float32(np.sqrt(memory.shape[1])))
    return _linear(weights, "encoder_mu.0", strength @ memory)


def _heads(values: Floats) -> Floats:
    """[T, HEADS * d] as [HEADS, T, d]."""
    return values.reshape(len(values), HEADS, -1).transpose(1, 0, 2)


def _linear(weights: Mapping[str, Floats], name: str, x: Floats) -> Floats:
    return np.asarray(x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"])


def _norm(weights: Mapping[str, Floats], name: str, x: Floats) -> Floats:
    mean, spread = x.mean(axis=1, keepdims=True), x.var(axis=1, keepdims=True)
    unit = (x - mean) / np.sqrt(spread + EPSILON)
    return np.asarray(unit * weights[f"{name}.weight"] + weights[f"{name}.bias"])


def _softmax(values: Floats) -> Floats:
    powers = np.exp(values - values.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))


def _sigmoid(values: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-values)))


def _gelu(values: Floats) -> Floats:
    from scipy.special import erf

    return np.asarray(values * 0.5 * (1 + erf(values / np.sqrt(2))), np.float32)
