"""The detector file: experts, scorer, locator, prompt and view of one model; what one shares.

A frozen detector (config `detector: path`) needs no calibration videos: its prompt is asked, its
experts are read, and its scorer and locator judge.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hhvad.artifacts import hdf5 as artifacts
from hhvad.errors import ArtifactError, ConfigError
from hhvad.records import HeadId


@dataclass(frozen=True)
class Detector:
    """What a detector file says of itself."""

    model: str
    prompt: str
    prompt_text: str
    sampling: dict[str, Any]
    experts: tuple[HeadId, ...]
    provenance: dict[str, Any]


def read(path: str | Path) -> Detector:
    """Read a detector file's description; ArtifactError where it is absent, damaged or another."""
    content = artifacts.read(path, "detector", ("experts",))
    provenance = content.provenance
    needed = ("model", "prompt", "prompt_text", "sampling")
    absent = [key for key in needed if key not in provenance]
    if absent:
        raise ArtifactError(f"{path}: provenance lacks {absent[0]!r}; make the detector again")
    return Detector(
        model=provenance["model"],
        prompt=provenance["prompt"],
        prompt_text=provenance["prompt_text"],
        sampling=provenance["sampling"],
        experts=tuple(HeadId(*head) for head in content["experts"].tolist()),
        provenance=provenance,
    )


def require_config(detector: Detector, config: dict[str, Any]) -> None:
    """Refuse a config whose model or sampling is not the one the detector was calibrated with."""
    path = config["detector"]
    if config["model"]["name"] != detector.model:
        raise ConfigError(
            f"config: model.name is {config['model']['name']!r}, but detector {path} was made with "
            f"{detector.model!r}; set model to that one, or calibrate again"
        )
    for key in ("frames", "segment_length", "size"):
        ours, theirs = config["sampling"][key], detector.sampling.get(key)
        if theirs is not None and list(_items(ours)) != list(_items(theirs)):
            raise ConfigError(
                f"config: sampling.{key} is {ours}, but detector {path} was made with {theirs}; "
                "set it to that, or calibrate again"
            )


def _items(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else [value]


def summary(path: str | Path) -> list[tuple[str, str]]:
    """A detector as lines of (name, value) for people."""
    detector = read(path)
    info = detector.provenance
    locator = info.get("locator", {})
    rows = [
        ("model", detector.model),
        ("revision", str(info.get("revision") or "")),
        ("fingerprint", str(info.get("fingerprint", ""))),
        ("prompt", f"{detector.prompt}: {detector.prompt_text}"),
        ("experts", " ".join(str(head) for head in detector.experts)),
        ("scorer", str(info.get("kind", ""))),
        ("locator", f"sigma {locator.get('sigma')} segments, tau {locator.get('tau')}"),
        ("calibrated", "on validation events" if locator.get("calibrated") else "no: fixed values"),
        ("sampling", ", ".join(f"{key} {value}" for key, value in detector.sampling.items())),
        ("hhvad", str(info.get("hhvad", ""))),
    ]
    return [(name, value) for name, value in rows if value]
