"""The calibration samples of HeadHunt, from the feature and saliency files that captures left."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hhvad.artifacts import hdf5
from hhvad.artifacts.hdf5 import Artifact, Provenance
from hhvad.errors import AnnotationError, ArtifactError, ConfigError, DataError
from hhvad.files import read_tsv
from hhvad.records import LABELS

# What features must share to be compared, and what their description carries on.
SAME_CAPTURE = ("model", "revision", "commit", "fingerprint", "dtype", "told", "view", "sampling")
SAME_PROMPT = (*SAME_CAPTURE, "prompt", "prompt_text", "system")


def read_all_heads(path: str) -> Artifact:
    """Features of every head. Raises ArtifactError where only some heads were captured."""
    file = hdf5.read(path, "features", ("features", "segments"))
    if file["features"].ndim != 4:
        raise ArtifactError(
            f"{path}: only some heads were captured into it; saliency needs all: capture it again"
        )
    return file


def read_saliencies(paths: Sequence[str]) -> list[Artifact]:
    """Saliency files of two or more prompts that belong together."""
    files = [hdf5.read(path, "saliency") for path in paths]
    hdf5.require_same(files, (*SAME_CAPTURE, "metrics", "shrinkage", "videos"))
    prompts = [file.provenance.get("prompt") for file in files]
    if len(set(prompts)) < 2 or len(set(prompts)) < len(prompts):
        raise ConfigError(
            f"--saliency holds prompts {prompts}: heads are chosen for agreeing across wordings; "
            "give one file for each of two or more prompts"
        )
    return files


def join_samples(
    files: list[Artifact],
    labels: Sequence[str],
    segment_labels: str | None,
    of: str = "--features",
) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64] | None]:
    """Features [N, ...] and labels [N] of the calibration samples (0 normal, 1 anomaly), and the
    number of the video [N] of each where a sample is one of several segments.

    labels: one per file, where a sample is a whole video; segment_labels: else, the table of
    label-segments. Raises ConfigError, AnnotationError or ArtifactError where they do not fit.
    """
    if segment_labels:
        return _labelled_segments(files, segment_labels)
    classes = _labels(labels, len(files), of)
    return _one_row_per_video(files), classes, None


def _labels(labels: Sequence[str], count: int, files: str = "--features") -> NDArray[np.int64]:
    """0 for normal, 1 for anomaly."""
    if len(labels) != count:
        raise ConfigError(f"--labels has {len(labels)} values and {files} {count}; one per file")
    unknown = [label for label in labels if label not in LABELS]
    if unknown:
        raise ConfigError(f"--labels holds {unknown[0]!r}; known: {', '.join(LABELS)}")
    return np.array([label == "anomaly" for label in labels], dtype=np.int64)


def _one_row_per_video(files: list[Artifact]) -> NDArray[np.float32]:
    """Features of view `video` behind one another: [videos, ...]."""
    for file in files:
        shape = file["features"].shape
        if shape[0] != 1:
            raise ArtifactError(
                f"{file.path}: it holds {shape[0]} segments; features of view video have one row"
            )
        if shape != files[0]["features"].shape:
            raise ArtifactError(
                f"{file.path}: its features have shape {shape}, but those of {files[0].path} have "
                f"{files[0]['features'].shape}"
            )
    return np.concatenate([file["features"] for file in files])


def _labelled_segments(
    files: list[Artifact], table: str
) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64]]:
    """Features, labels and videos of the segments that the table lists, in the files' order."""
    columns = ("video", "start_frame", "end_frame", "label")
    wanted = {(row["video"], row["start_frame"], row["end_frame"]): row["label"]
              for row in read_tsv(table, columns)}  # fmt: skip
    rows, labels, videos = [], [], []
    for number, file in enumerate(files):
        for index, (start, end) in enumerate(file["segments"].tolist()):
            label = wanted.pop((video_of(file), str(start), str(end)), None)
            if label is not None:
                rows.append(file["features"][index])
                labels.append(label)
                videos.append(number)
    if wanted or not rows:
        raise AnnotationError(
            f"{table}: segment {' '.join(next(iter(wanted), ('(none)',)))} is in none of the "
            "features; the table and the captures must have the same segment grid"
        )
    return np.stack(rows), _labels(labels, len(labels), table), np.array(videos)


def require_two_of_each(labels: NDArray[np.int64]) -> None:
    """Raise DataError where a class has fewer than two samples."""
    normal, anomaly = int((labels == 0).sum()), int(labels.sum())
    if min(normal, anomaly) < 2:
        raise DataError(
            f"--labels has {normal} normal and {anomaly} anomaly: two of each class are needed to "
            "tell heads apart; add calibration videos"
        )


def video_of(file: Artifact) -> str:
    """The id of the video that a file of features is of."""
    return str(file.provenance.get("video", file.path.stem))


def carried(file: Artifact, keys: Sequence[str]) -> Provenance:
    """The part of a provenance that what is made of the file keeps."""
    return {key: file.provenance[key] for key in keys if key in file.provenance}
