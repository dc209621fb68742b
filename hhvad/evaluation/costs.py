"""What each method of a study cost, and what it needed, from the files that its jobs leave.

A job leaves its time as `<benchmarks>/RULE/.../VIDEO.tsv` (Snakemake's table), and one that asks a
model leaves what that answered. A job that several methods share counts for each of them: a
method's costs are those that it would have alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hhvad.artifacts import hdf5, probe, texts
from hhvad.errors import ArtifactError
from hhvad.evaluation import tables
from hhvad.files import read_tsv
from hhvad.records import Video

# The rules whose jobs ask a model, and where their answers lie: the rest of the path is the same.
ANSWERS = {
    "capture_heads": "heads",
    "capture_states": "states",
    "caption_frames": "captions",
    "complete_texts": "answers",
    "answer_questions": "logprobs",
    "answer_guided": "logprobs",
    "embed_frames": "vectors",
    "embed_windows": "vectors",
    "embed_class_tokens": "vectors",
    "embed_texts": "vectors",
}
# Columns of the table and what they mean.
MEANINGS = {
    "method": "name in the config",
    "kind": "kind of method",
    "labels": "what people must have labelled",
    "training": "what is fitted",
    "wordings": "what is asked",
    "setup_seconds": "seconds of the jobs on calibration and validation videos and of the fit",
    "test_seconds": "seconds of the jobs on test videos",
    "video_seconds": "seconds of test video",
    "real_time": "test_seconds over video_seconds: below 1, one job at a time keeps up",
    "model_seconds": "seconds of those jobs that ask a model: of a GPU, where it runs on one",
    "cpu_seconds": "processor seconds of the jobs, without those of a model that stays resident",
    "model_calls": "segments, frames, texts or questions that a model was asked",
    "tokens": "tokens that models wrote",
    "unmeasured": "jobs whose time is not on record",
}
COLUMNS = tuple(MEANINGS)
NOTE = (
    "Seconds are of jobs as they ran, added up: jobs that ran at once slowed each other. A job "
    "that methods share counts for each of them, one of an earlier run as well. Besides, a "
    "calibrated threshold needs annotated validation videos."
)


@dataclass(frozen=True)
class Costed:
    """A method, its kind, what it needs (labels, training, wordings), and its jobs.

    jobs: folders or files below the benchmarks, the latter without their suffix.
    """

    name: str
    kind: str
    needs: Mapping[str, str]
    jobs: Sequence[str]


def costs(
    methods: Sequence[Costed], videos: Sequence[Video], benchmarks: Path, results: Path
) -> list[dict[str, Any]]:
    """A row of COLUMNS for each method. Raises ArtifactError for damaged files."""
    tests = {video.video for video in videos if video.split == "test"}
    files = [results / "probe" / f"{name}.json" for name in sorted(tests)]
    probes = [probe.read(file) for file in files if file.is_file()]  # a video may have failed
    footage = sum(one.seconds(one.frames) for one in probes)
    return [
        {
            "method": method.name,
            "kind": method.kind,
            **method.needs,
            **_spent(
                method, [video.video for video in videos], tests, footage, benchmarks, results
            ),
        }
        for method in methods
    ]


def _spent(
    method: Costed,
    videos: Sequence[str],
    tests: set[str],
    footage: float,
    benchmarks: Path,
    results: Path,
) -> dict[str, float | int]:
    spent = {"setup": 0.0, "test": 0.0, "model": 0.0, "cpu": 0.0}
    calls = tokens = unmeasured = 0
    for job in method.jobs:
        rule, _, rest = job.partition("/")
        for path in _files(benchmarks / job, videos):
            seconds, cpu = _time(path)
            spent["test" if path.stem in tests else "setup"] += seconds
            spent["cpu"] += cpu
            if rule in ANSWERS:
                spent["model"] += seconds
        if rule not in ANSWERS:
            continue
        answers = results / ANSWERS[rule] / rest
        for path in _files(answers, videos, ".jsonl" if rule in _TEXTS else ".h5"):
            asked, written = _asked(path, ANSWERS[rule])
            calls += asked
            tokens += written
            timed = benchmarks / job / f"{path.stem}.tsv" if path.parent == answers else None
            unmeasured += not (timed or (benchmarks / job).with_suffix(".tsv")).is_file()
    return {
        "setup_seconds": round(spent["setup"], 2),
        "test_seconds": round(spent["test"], 2),
        "video_seconds": round(footage, 2),
        "real_time": round(spent["test"] / footage, 4) if footage else 0.0,
        "model_seconds": round(spent["model"], 2),
        "cpu_seconds": round(spent["cpu"], 2),
        "model_calls": calls,
        "tokens": tokens,
        "unmeasured": unmeasured,
    }


_TEXTS = ("caption_frames", "complete_texts")


def _files(place: Path, videos: Sequence[str], suffix: str = ".tsv") -> Iterator[Path]:
    """The files of these videos in a folder, or the one file of that name."""
    one = place.with_name(place.name + suffix)
    if one.is_file():
        yield one
    for name in videos:
        path = place / f"{name}{suffix}"
        if path.is_file():
            yield path


def _time(path: Path) -> tuple[float, float]:
    """Wall-clock and processor seconds of a job, from Snakemake's table; NA is none."""
    try:
        row = read_tsv(path, ("s", "cpu_time"))[-1]
        return tuple(0.0 if row[key] == "NA" else float(row[key]) for key in ("s", "cpu_time"))  # type: ignore[return-value]
    except (IndexError, ValueError) as error:
        raise ArtifactError(f"{path}: not a table of times ({error}); delete it") from error


def _asked(path: Path, kind: str) -> tuple[int, int]:
    """How often a model was asked for a file, and how many tokens it wrote."""
    if path.suffix == ".jsonl":
        rows = texts.read(path).rows
        return len(rows), sum(row["tokens"] for row in rows)
    schema = {"heads": "features", "states": "features"}.get(kind, kind)
    with hdf5.open_artifact(path, schema) as (file, _):
        if schema == "logprobs":
            segments, questions = file["logprobs"].shape[:2]
            return int(segments * questions), 0
        return len(file["segments" if schema == "features" else "vectors"]), 0


def cells(rows: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """The costs as a table for people: head and rows."""
    head = [
        *("", "labels", "training", "wordings", "set-up, s", "test, s", "s per s of video"),
        *("model, s", "model calls", "tokens"),
    ]
    return head, [
        [
            *(row[key] or "none" for key in ("method", "labels", "training", "wordings")),
            *(f"{row[key]:.0f}" for key in ("setup_seconds", "test_seconds")),
            f"{row['real_time']:.3f}",
            f"{row['model_seconds']:.0f}",
            *(f"{row[key]}" for key in ("model_calls", "tokens")),
        ]
        for row in rows
    ]


def markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """The costs as a Markdown table."""
    return "\n".join([*tables.markdown(*cells(rows)), "", NOTE, ""])


def latex(rows: Sequence[Mapping[str, Any]]) -> str:
    """The costs as a LaTeX tabular."""
    lines = tables.latex(*cells(rows), "llllrrrrrr")
    return "\n".join([f"% {NOTE}", "% Needs \\usepackage{booktabs}.", *lines, ""])
