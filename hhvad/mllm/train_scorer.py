"""Training of the UR-DMU head: a reconstruction, since Holmes-VAU's own training is unpublished.

After UR-DMU (Zhou, Yu and Yang, AAAI 2023), whose head Holmes-VAU takes: normal and anomalous
videos of which only the label is known, in equal numbers, each as so many snippets. What is most
anomalous in a video must match its label, each memory must answer to its own kind of footage, and
what the ordinary memory makes of ordinary footage is a small Gaussian.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from hhvad.errors import DataError
from hhvad.files import atomic_path, write_tsv
from hhvad.methods.scorer.network import BLOCKS, HEADS, neighbours, shapes
from hhvad.mllm import course

Vectors = NDArray[np.float32]
MARGIN, GAP = 1.0, 100.0  # of the triplets, and between the norms of the two kinds


@dataclass(frozen=True)
class Settings:
    """steps of `batch` normal and `batch` anomalous videos of `snippets` each; hidden, memory: the
    head's width and patterns a memory; dropout: in its attention."""

    steps: int
    batch: int
    snippets: int
    hidden: int
    memory: int
    rate: float
    decay: float
    dropout: float
    seed: int


def snippets(vectors: Vectors, count: int) -> Vectors:
    """A video's vectors [T, D] as [count, D]: means of equal stretches, or single ones of few."""
    edges = np.linspace(0, len(vectors), count + 1).astype(np.int64)
    rows = [
        vectors[start:end].mean(axis=0) if end > start else vectors[min(start, len(vectors) - 1)]
        for start, end in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)
    ]
    return np.stack(rows).astype(np.float32)


def train(
    normal: Sequence[Vectors],
    anomalous: Sequence[Vectors],
    settings: Settings,
    out: Path,
    table: Path,
    work: Path,
    *,
    key: str,
    threads: int,
    every: int = 100,
    progress: Callable[[int, int, float], None] = lambda done, total, loss: None,
) -> None:
    """Learn a head from videos' class vectors [T, D], or go on where an interrupted job was.

    Writes its safetensors and a table of the loss (means over `every` steps). `work` holds the
    state of the training with this `key`, a digest of all that it follows from. On the CPU, with
    the same bytes each time. Raises DataError for a class without a video.
    """
    if not normal or not anomalous:
        raise DataError("the scorer learns from normal and anomalous calibration videos: add some")
    torch.set_num_threads(threads)
    given = [
        torch.from_numpy(np.stack([snippets(v, settings.snippets) for v in videos]))
        for videos in (normal, anomalous)
    ]
    state = course.folder_of(work, key)
    torch.manual_seed(settings.seed)
    weights = fresh(given[0].shape[-1], settings.memory, settings.hidden)
    optimiser = torch.optim.Adam(
        weights.values(), lr=settings.rate, weight_decay=settings.decay, foreach=False
    )
    losses, _ = course.resume(state, weights, optimiser)
    size = min(settings.batch, max(len(videos) for videos in given))
    for step in range(len(losses), settings.steps):
        rng = np.random.default_rng([settings.seed, step])
        torch.manual_seed(settings.seed * 1_000_003 + step)  # dropout and the Gaussian
        picked = [
            videos[torch.from_numpy(rng.choice(len(videos), size, replace=size > len(videos)))]
            for videos in given
        ]
        loss = loss_of(forward(weights, torch.cat(picked), settings.dropout))
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        losses.append((float(loss.detach()),))
        if (step + 1) % every == 0 or step + 1 == settings.steps:
            course.keep(state, weights, optimiser, losses, 0.0)
        progress(step + 1, settings.steps, losses[-1][0] or 0.0)
    tensors = {name: weights[name].detach().contiguous() for name in sorted(weights)}
    with atomic_path(out) as partial:
        save_file(tensors, partial, {"made": "hhvad train-scorer, a reconstruction"})
    write_tsv(table, ("step", "loss"), course.means(losses, every))


def fresh(width: int, memory: int, hidden: int) -> dict[str, nn.Parameter]:
    """A head before training: Xavier's matrices, zero biases, small memories."""
    weights = {}
    for name, shape in shapes(width, memory, hidden).items():
        values = torch.zeros(shape)
        if name.endswith("memory_block"):
            nn.init.uniform_(values, -(hidden**-0.5), hidden**-0.5)
        elif "norm.weight" in name:
            nn.init.ones_(values)
        elif name.endswith("weight"):
            nn.init.xavier_uniform_(values)
        weights[name] = nn.Parameter(values)
    return weights


class Passed(NamedTuple):
    """What a pass over N normal and then N anomalous videos of T snippets gives to the loss.

    scores [2N, T]; own: how much of its memory is in each snippet, normal and anomalous [N, T];
    other: of the other kind's; ordinary, flagged, hidden: the mean hidden states [N, hidden] of the
    most ordinary snippets, of those that the anomalous memory knows, and of those of anomalous
    videos that the ordinary one knows; mean, spread [N, T, hidden]: the Gaussian; norms [N] of what
    the memories make of both kinds.
    """

    scores: Tensor
    own: tuple[Tensor, Tensor]
    other: tuple[Tensor, Tensor]
    ordinary: Tensor
    flagged: Tensor
    hidden: Tensor
    mean: Tensor
    spread: Tensor
    norms: tuple[Tensor, Tensor]


def encode(weights: dict[str, Any], vectors: Tensor, dropout: float) -> Tensor:
    """Vectors [B, T, D] to hidden states [B, T, hidden]: the convolution and the two blocks."""
    x = functional.conv1d(
        vectors.transpose(1, 2),
        weights["embedding.conv_1.0.weight"],
        weights["embedding.conv_1.0.bias"],
        padding=1,
    )
    x = functional.relu(x).transpose(1, 2)
    average = torch.from_numpy(neighbours(vectors.shape[1]))

    def drop(values: Tensor) -> Tensor:
        return functional.dropout(values, dropout)

    for block in range(BLOCKS):
        at = f"self_attn.layers.{block}"
        y = functional.linear(
            _norm(weights, f"{at}.0.norm", x), weights[f"{at}.0.fn.to_qkv.weight"]
        )
        q, k, v, t = (
            part.reshape(*part.shape[:2], HEADS, -1).transpose(1, 2) for part in y.chunk(4, dim=-1)
        )
        strength = (q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5).softmax(dim=-1)
        mixed = torch.cat([strength @ v, average @ t], dim=-1).transpose(1, 2).flatten(2)
        x = x + drop(_linear(weights, f"{at}.0.fn.to_out.0", mixed))
        inner = _linear(weights, f"{at}.1.fn.net.0", _norm(weights, f"{at}.1.norm", x))
        x = x + drop(_linear(weights, f"{at}.1.fn.net.3", drop(functional.gelu(inner))))
    return x


def recall(weights: dict[str, Any], name: str, x: Tensor) -> tuple[Tensor, Tensor]:
    """How much of a memory is in each snippet [B, T], and what it holds of each [B, T, hidden]."""
    memory = weights[f"{name}memory.memory_block"]
    strength = torch.sigmoid(x @ memory.T / math.sqrt(memory.shape[1]))
    return _most(strength), strength @ memory


def forward(weights: dict[str, Any], vectors: Tensor, dropout: float) -> Passed:
    """A pass in training over normal and then as many anomalous videos [2N, T, D]."""
    x = encode(weights, vectors, dropout)
    normal, anomalous = x.chunk(2)
    strong_aa, held_aa = recall(weights, "A", anomalous)
    strong_na, held_na = recall(weights, "N", anomalous)
    strong_an, held_an = recall(weights, "A", normal)
    strong_nn, held_nn = recall(weights, "N", normal)
    mean, spread = (_linear(weights, f"encoder_{what}.0", held_nn) for what in ("mu", "var"))
    drawn = mean + torch.randn_like(mean) * torch.exp(0.5 * spread)
    made_aa, made_an, made_na = (
        _linear(weights, "encoder_mu.0", held) for held in (held_aa, held_an, held_na)
    )
    joined = torch.cat([x, torch.cat([drawn + made_an, made_aa + made_na])], dim=-1)
    inner = functional.relu(_linear(weights, "cls_head.mlp.0", joined))
    return Passed(
        scores=torch.sigmoid(_linear(weights, "cls_head.mlp.2", inner))[..., 0],
        own=(strong_nn, strong_aa),
        other=(strong_an, strong_na),
        ordinary=_mean_of_most(normal, strong_nn),
        flagged=_mean_of_most(anomalous, strong_aa),
        hidden=_mean_of_most(anomalous, strong_na),
        mean=mean,
        spread=spread,
        norms=(
            _mean_of_most(drawn, strong_nn).norm(dim=-1),
            _mean_of_most(made_aa, strong_aa).norm(dim=-1),
        ),
    )


def loss_of(passed: Passed) -> Tensor:
    """UR-DMU's loss: classes, the four memories' answers, triplets, the Gaussian, the norms."""
    count = len(passed.ordinary)
    zeros, ones = torch.zeros(count), torch.ones(count)
    entropy = functional.binary_cross_entropy
    classes = entropy(_most(passed.scores), torch.cat([zeros, ones]))
    memories = (
        entropy(_most(passed.own[1]), ones)
        + entropy(_most(1 - passed.other[1]), ones)
        + entropy(passed.own[0], torch.ones_like(passed.own[0]))
        + entropy(passed.other[0], torch.zeros_like(passed.other[0]))
    )
    triplets = functional.triplet_margin_loss(
        functional.normalize(passed.ordinary, dim=-1),
        functional.normalize(passed.hidden, dim=-1),
        functional.normalize(passed.flagged, dim=-1),
        margin=MARGIN,
    )
    gaussian = 1 + passed.spread - passed.mean**2 - passed.spread.exp()
    small = -0.5 * gaussian.sum(dim=1).mean()
    apart = functional.relu(GAP - passed.norms[1] + passed.norms[0]).mean()
    return classes + 0.1 * memories + 0.1 * triplets + 0.001 * small + 0.0001 * apart


def _most(values: Tensor) -> Tensor:
    """The mean of the largest sixteenth, and one more, along the last dimension."""
    return values.topk(values.shape[-1] // 16 + 1, dim=-1).values.mean(dim=-1)


def _mean_of_most(states: Tensor, strength: Tensor) -> Tensor:
    """The mean [B, hidden] of the states [B, T, hidden] whose strength [B, T] is largest."""
    picked = strength.topk(strength.shape[-1] // 16 + 1, dim=-1).indices
    return states.gather(1, picked[..., None].expand(-1, -1, states.shape[-1])).mean(dim=1)


def _linear(weights: dict[str, Any], name: str, x: Tensor) -> Tensor:
    return functional.linear(x, weights[f"{name}.weight"], weights[f"{name}.bias"])


def _norm(weights: dict[str, Any], name: str, x: Tensor) -> Tensor:
    weight = weights[f"{name}.weight"]
    return functional.layer_norm(x, weight.shape, weight, weights[f"{name}.bias"])


def follows_from(settings: Settings) -> dict[str, Any]:
    """What a training follows from besides its videos."""
    return {**asdict(settings), "torch": str(torch.__version__)}
