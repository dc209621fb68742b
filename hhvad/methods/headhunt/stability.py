"""How stable the choice of heads is under other calibration videos."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hhvad.artifacts import hdf5
from hhvad.artifacts.hdf5 import Artifact
from hhvad.errors import ConfigError
from hhvad.methods.headhunt import rhi
from hhvad.methods.headhunt.samples import SAME_PROMPT, join_samples, read_all_heads, video_of


def selection_frequency(
    saliencies: list[Artifact],
    features: Sequence[str],
    labels: Sequence[str],
    segment_labels: str | None,
    *,
    count: int,
    penalty: float,
    bootstrap: int,
    seed: int,
    threads: int,
) -> NDArray[np.float64]:
    """How often resamples of the calibration videos choose each head: [L, H], 0 to 1.

    features: files of all prompts, the same videos in the same order under each.
    """
    prompts = [file.provenance["prompt"] for file in saliencies]
    rows: dict[Any, list[Artifact]] = {prompt: [] for prompt in prompts}
    for path in features:
        one = read_all_heads(path)
        prompt = one.provenance.get("prompt")
        if prompt not in rows:
            raise ConfigError(f"{path}: its prompt {prompt!r} has no file in --saliency")
        rows[prompt].append(one)
    joined = []
    for prompt, file in zip(prompts, saliencies, strict=True):
        hdf5.require_same([file, *rows[prompt]], SAME_PROMPT)
        if [video_of(one) for one in rows[prompt]] != file.provenance["videos"]:
            raise ConfigError(
                f"--features of prompt {prompt} are not the videos of {file.path} in its order"
            )
        of = f"--features of prompt {prompt}"
        samples, classes, videos = join_samples(rows.pop(prompt), labels, segment_labels, of)
        joined.append(samples)
    provenance = saliencies[0].provenance
    shrinkage = provenance["shrinkage"]
    return np.asarray(
        rhi.selection_frequency(
            joined,
            classes,
            k=count,
            penalty=penalty,
            count=bootstrap,
            seed=seed,
            metrics=provenance["metrics"],
            shrinkage=None if shrinkage == "none" else shrinkage,
            threads=threads,
            videos=videos,
        )
    )
