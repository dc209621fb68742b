"""HIVAU-70k's instruction file: questions about videos, events and clips, with reference answers.

An item names a file that the authors cut out of a video: `.../events/test/VIDEO_E0.mp4`,
`.../clips/test/VIDEO_E0C1.mp4`. No file is cut here: the item is a range of the video's frames.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path, PurePosixPath
from typing import Any

from hhvad.datasets.annotation import video_id
from hhvad.errors import AnnotationError, ArtifactError
from hhvad.files import read_json, read_text, read_tsv, write_tsv

TASKS = ("caption", "judgement", "description", "analysis")
_PART = re.compile(r"_E(\d+)(?:C(\d+))?$")


@dataclass(frozen=True)
class Item:
    """A question about frames [start, end) of a video; anomalous: the label of the video."""

    id: str
    level: str
    task: str
    video: str
    start: int
    end: int
    anomalous: bool
    prompt: str
    reference: str


def official_range(seconds: Sequence[float], fps: float, n_frames: int) -> tuple[int, int]:
    """The frames [start, end) that the authors' script cuts out for [start, end] in seconds."""
    return int(seconds[0] * fps), min(int(seconds[1] * fps), n_frames - 1)


def read_instructions(
    path: str | Path, annotations: Sequence[str | Path]
) -> tuple[list[Item], list[str], list[str]]:
    """The items with frames, those whose range is empty by name, and videos without annotation.

    annotations: raw annotation files, which know the ranges. Raises AnnotationError for a row or
    an entry that cannot be read.
    """
    raw: dict[str, Any] = {}
    for source in annotations:
        try:
            content = read_json(source)
        except ArtifactError as error:
            raise AnnotationError(str(error)) from error
        if not isinstance(content, dict):
            raise AnnotationError(f"{source}: it is not a raw annotation of HIVAU-70k")
        raw |= content
    items, empty, absent = [], [], []
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        if not line.strip():
            continue
        where = f"{path}: line {number}"
        try:
            row = json.loads(line)
            level, task, name = row["type"], row["task"], PurePosixPath(row["video"]).stem
            prompt, reference = row["prompt"], row["anwser"]  # the file's own spelling
        except (ValueError, KeyError, TypeError) as error:
            raise AnnotationError(f"{where}: id, type, task, video, prompt or anwser") from error
        part = _PART.search(name) if level != "video" else None
        if (
            level not in ("video", "event", "clip")
            or task not in TASKS
            or (level != "video" and part is None)
        ):
            raise AnnotationError(f"{where}: type {level!r}, task {task!r} of {name!r} is unknown")
        video = name[: part.start()] if part else name
        if video not in raw:
            absent.append(video)
            continue
        start, end, anomalous = _range(raw[video], part, f"{where}: {name}")
        if end <= start:
            empty.append(name)
            continue
        items.append(
            Item(str(row.get("id", number - 1)), level, task, video_id(video), start, end,
                 anomalous, prompt, reference)
        )  # fmt: skip
    return items, list(dict.fromkeys(empty)), list(dict.fromkeys(absent))


def _range(
    entry: Mapping[str, Any], part: re.Match[str] | None, where: str
) -> tuple[int, int, bool]:
    try:
        n_frames, fps, labels = int(entry["n_frames"]), float(entry["fps"]), entry["label"]
        labels = [labels] if isinstance(labels, str) else labels
        anomalous = any(label.lower() != "normal" for label in labels)
        if part is None:
            return 0, n_frames, anomalous
        event, clip = int(part[1]), part[2]
        seconds = entry["events"][event] if clip is None else entry["clips"][event][int(clip)]
        return *official_range(seconds, fps, n_frames), anomalous
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise AnnotationError(f"{where} has no range in its annotation ({error!r})") from error


COLUMNS = tuple(field.name for field in fields(Item))


def write_items(path: str | Path, items: Sequence[Item]) -> None:
    """One row per item."""
    write_tsv(path, COLUMNS, [[" ".join(str(v).split()) for v in astuple(one)] for one in items])


def read_items(path: str | Path) -> list[Item]:
    """The inverse of `write_items`. Raises ArtifactError."""
    try:
        return [
            Item(
                **{
                    **row,
                    "start": int(row["start"]),
                    "end": int(row["end"]),
                    "anomalous": row["anomalous"] == "True",
                }  # type: ignore[arg-type]
            )
            for row in read_tsv(path, COLUMNS)
        ]
    except (TypeError, ValueError) as error:
        raise ArtifactError(f"{path}: not a table of list-hivau ({error})") from error
