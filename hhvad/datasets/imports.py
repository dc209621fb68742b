"""Score files as the code of other methods writes them, as scored segments of each video."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hhvad.artifacts.scores import Segments
from hhvad.datasets.annotation import video_id
from hhvad.errors import AnnotationError, ArtifactError
from hhvad.files import read_json

Counts = Mapping[str, int]
Rows = list[tuple[int, int, float]]


def lavad(
    folder: Path, counts: Counts, similarities: Path | None = None
) -> Iterator[tuple[str, Segments]]:
    """`VIDEO.json`: frame -> score, or frame -> neighbour -> score with cosines in another folder.

    A frame's score holds until the next frame. The scores of neighbours are weighted by the softmax
    of their cosines, as LAVAD's evaluation does.
    """
    for name, content in _files(folder):
        where = f"{folder / name}.json"
        cosines: Any = {}
        if any(isinstance(value, dict) for value in content.values()):
            if similarities is None:
                raise AnnotationError(
                    f"{where}: refined scores need --similarities, the folder of their cosines"
                )
            cosines = read_json(similarities / f"{name}.json")
        values = {}
        for frame, value in content.items():
            try:
                if isinstance(value, dict):
                    near = [(float(cosines[frame][key]), float(value[key])) for key in value]
                    weights = np.exp([cosine for cosine, _ in near])
                    value = float(weights @ [score for _, score in near] / weights.sum())
                values[int(frame)] = float(value)
            except (KeyError, TypeError, ValueError) as error:
                raise AnnotationError(f"{where}: frame {frame}: {error!r}") from error
        if video_id(name) not in counts:
            raise AnnotationError(
                f"{where}: the video has no frame count; add it to --frame-counts"
            )
        yield name, _until_next(where, values, counts[video_id(name)])


def vera(
    folder: Path, counts: Counts, similarities: Path | None = None
) -> Iterator[tuple[str, Segments]]:
    """`VIDEO.json`: frame -> {start, end, score}, what generate_initial_score.py writes.

    A frame's score holds until the next frame, the last one's to the largest `end`. These are the
    answers before neighbours, smoothing and position weight, which compute_auc.py applies.
    """
    for name, content in _files(folder):
        where = f"{folder / name}.json"
        try:
            values = {int(frame): float(entry["score"]) for frame, entry in content.items()}
            last = math.ceil(max(float(entry["end"]) for entry in content.values()))
        except (KeyError, TypeError, ValueError) as error:
            raise AnnotationError(f"{where}: not a score file of VERA: {error!r}") from error
        yield name, _until_next(where, values, counts.get(video_id(name), last))


def headhunt(
    folder: Path, counts: Counts, similarities: Path | None = None
) -> Iterator[tuple[str, Segments]]:
    """`VIDEO.json` of inference.py with --save_segment_scores; its smoothed scores.

    The official code leaves out what remains of a video after the last whole segment: it gets the
    last score.
    """
    for name, content in _files(folder):
        if name == "all_results":
            continue
        where = f"{folder / name}.json"
        if "segments" not in content:
            raise AnnotationError(f"{where}: it has no segments; run with --save_segment_scores")
        try:
            rows = [
                (int(one["start_frame"]), int(one["end_frame"]), float(one["smoothed_score"]))
                for one in content["segments"]
            ]
            n_frames = int(content["total_frames"])
            start, _, score = rows[-1]
            rows[-1] = (start, n_frames, score)
        except (IndexError, KeyError, TypeError, ValueError) as error:
            raise AnnotationError(f"{where}: not a result of HeadHunt-VAD: {error!r}") from error
        yield name, _segments(rows)


def _files(folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The JSON objects of a folder by name, sorted."""
    paths = sorted(folder.glob("*.json"))
    if not paths:
        raise AnnotationError(f"{folder}: there is no VIDEO.json in it")
    for path in paths:
        try:
            content = read_json(path)
        except ArtifactError as error:
            raise AnnotationError(str(error)) from error
        if not isinstance(content, dict) or not content:
            raise AnnotationError(f"{path}: it holds no scores")
        yield path.stem, content


def _until_next(where: str, values: Mapping[int, float], n_frames: int) -> Segments:
    """Scores of single frames, each held until the next one."""
    frames = sorted(values)
    if frames[0] != 0 or frames[-1] >= n_frames:
        raise AnnotationError(
            f"{where}: scores of frames {frames[0]} to {frames[-1]}, but the video has {n_frames}"
        )
    ends = [*frames[1:], n_frames]
    return _segments([(start, end, values[start]) for start, end in zip(frames, ends, strict=True)])


def _segments(rows: Rows) -> Segments:
    bounds = np.array([row[:2] for row in rows], dtype=np.int64).reshape(-1, 2)
    return Segments(bounds, np.array([row[2] for row in rows], dtype=np.float64))
