"""How stable the choice of heads is, and what other choices would have been worth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hhvad import sheet
from hhvad.artifacts import hdf5
from hhvad.artifacts.hdf5 import Artifact
from hhvad.artifacts.probe import read as read_probe
from hhvad.errors import ConfigError, SheetError
from hhvad.evaluation import metrics
from hhvad.localization import locator
from hhvad.methods.headhunt import rhi
from hhvad.methods.headhunt.samples import SAME_PROMPT, join_samples, read_all_heads, video_of
from hhvad.methods.headhunt.scorer import Scorer, fitting_samples


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


def measure(
    choices: Sequence[Sequence[tuple[int, int]]],
    features: Sequence[str],
    labels: Sequence[str],
    segment_labels: str | None,
    *,
    kind: str,
    seed: int,
    share: float,
    sheet_path: str,
    heads_folder: str,
    probes_folder: str,
) -> list[tuple[float, float]]:
    """Frame-level AUC and AP of unsmoothed scores on the annotated test videos, for each choice.

    Every file is read once, for the heads of all choices.
    """
    every = sorted({head for heads in choices for head in heads})
    columns = [[every.index(head) for head in heads] for heads in choices]
    wanted = np.array(every, dtype=np.int64)
    files = [hdf5.head_features(path, wanted) for path in features]
    hdf5.require_same(files, SAME_PROMPT)
    calibration, classes, _ = join_samples(files, labels, segment_labels)
    tests, counts = [], []
    for video in sheet.read(sheet_path):
        if video.split == "test" and video.events is not None:
            file = hdf5.head_features(f"{heads_folder}/{video.video}.h5", wanted)
            same = tuple(key for key in SAME_PROMPT if key not in ("view", "sampling"))
            hdf5.require_same([files[0], file], same)
            probe = read_probe(f"{probes_folder}/{video.video}.json")
            events = sheet.event_frames(video, probe)
            tests.append(file["features"])
            counts.append(locator.frame_counts(file["segments"], events))
    if not tests:
        raise SheetError(f"{sheet_path}: no test video has an annotation to measure against")
    tested, (negative, positive) = np.concatenate(tests), np.concatenate(counts).T
    results = []
    taken = fitting_samples(classes, share, seed)
    for heads in columns:
        scorer = Scorer(kind, seed).fit(calibration[taken][:, heads], classes[taken])
        scores = scorer.predict_proba(tested[:, heads])
        order = metrics.rank(np.zeros(len(scores), np.int64), scores, positive, negative)
        counts_at = order.counts()
        results.append((metrics.auc(*counts_at), metrics.ap_step(*counts_at)))
    return results
