"""What every training needs: the same settings, and a state to go on from."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from hhvad.errors import ConfigError
from hhvad.files import atomic_path, read_json, write_json, write_tsv

Losses = list[tuple[float | None, ...]]  # one tuple per step, its parts named by the training


def folder_of(work: Path, key: str) -> Path:
    """Where the state of the training with this key lies in `work`; that of others goes."""
    state = work / key
    for stale in [path for path in work.glob("*") if path != state]:
        shutil.rmtree(stale)
    state.mkdir(parents=True, exist_ok=True)
    return state


def require_same_settings(work: Path, settings: dict[str, Any]) -> None:
    """Write the settings of a training, or compare them with those that it began with.

    Raises ConfigError for a training that began with others.
    """
    path = work / "settings.json"
    if path.is_file():
        known = read_json(path)
        for key, value in settings.items():
            if known.get(key) != value:
                raise ConfigError(
                    f"{work} holds a training with {key} {known.get(key)!r}, not {value!r}: go on "
                    "with the same settings, or delete that folder"
                )
    write_json(path, settings)


def keep(
    work: Path,
    weights: dict[str, Any],
    optimiser: torch.optim.Optimizer,
    losses: Losses,
    minutes: float,
) -> None:
    """Write weights, the optimiser's moments, losses and minutes so far."""
    tensors = {f"weight.{name}": weight.detach().clone() for name, weight in weights.items()}
    for name, weight in weights.items():
        for key, value in optimiser.state.get(weight, {}).items():
            tensors[f"{key}.{name}"] = value.detach().clone()
    note = json.dumps({"losses": losses, "minutes": minutes})
    with atomic_path(work / "state.safetensors") as partial:
        save_file(tensors, partial, {"progress": note})


def resume(
    work: Path, weights: dict[str, Any], optimiser: torch.optim.Optimizer
) -> tuple[Losses, float]:
    """Losses and minutes so far; sets weights and moments to what `keep` wrote."""
    path = work / "state.safetensors"
    if not path.is_file():
        return [], 0.0
    with safe_open(path, "pt") as file:
        progress = json.loads(file.metadata()["progress"])
        names = set(file.keys())
        with torch.no_grad():
            for name, weight in weights.items():
                weight.copy_(file.get_tensor(f"weight.{name}"))
                if f"step.{name}" in names:
                    optimiser.state[weight] = {
                        key: file.get_tensor(f"{key}.{name}")
                        for key in ("step", "exp_avg", "exp_avg_sq")
                    }
    return [tuple(row) for row in progress["losses"]], progress["minutes"]


def describe(
    folder: Path,
    settings: dict[str, Any],
    columns: tuple[str, ...],
    losses: Losses,
    minutes: float,
    every: int,
) -> None:
    """Write training.json and loss.tsv (means over `every` steps) beside the weights."""
    write_json(
        folder / "training.json",
        {**settings, "steps_done": len(losses), "minutes": round(minutes, 1)},
    )
    write_tsv(folder / "loss.tsv", ("step", *columns), means(losses, every))


def means(losses: Losses, every: int) -> list[tuple[float | None, ...]]:
    """Rows of a step and the means of the losses over the `every` steps before it."""
    return [
        (end, *map(_mean, zip(*losses[end - every : end], strict=True)))
        for end in range(every, len(losses) + 1, every)
    ]


def _mean(values: tuple[float | None, ...]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
