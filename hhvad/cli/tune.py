"""Tuning a model on answers about calibration videos: lessons, an adapter, a checkpoint with it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from hhvad.cli.models import DTYPES, _positive, _Progress


def add_commands(commands: Any) -> None:
    """Add list-lessons, sample-lessons, tune-lora and merge-lora."""
    p = commands.add_parser(
        "list-lessons",
        help="the questions and answers that a model may learn from",
        description="Collect questions and answers about calibration videos. One about a video "
        "that results are judged by is an error.",
    )
    p.add_argument("--instructions", metavar="JSONL", help="of HIVAU-70k's training videos")
    p.add_argument("--annotations", nargs="+", default=[], metavar="JSON", help="the raw ones")
    p.add_argument("--lessons", nargs="+", default=[], metavar="TSV", help="as list-hivau writes")
    p.add_argument("--sheet", required=True, metavar="TSV")
    p.add_argument("--probes-folder", required=True, type=Path, metavar="DIR")
    p.add_argument("--out", required=True, metavar="TSV")
    p.set_defaults(run=_list_lessons)

    p = commands.add_parser(
        "sample-lessons", help="decode a video once, and keep frames of each range of its lessons"
    )
    p.add_argument("--lessons", required=True, metavar="TSV", help="from list-lessons")
    p.add_argument("--video", required=True, metavar="ID")
    p.add_argument("--path", required=True, help="the video file")
    p.add_argument("--probe", required=True, metavar="JSON")
    p.add_argument("--frames", required=True, type=_positive, metavar="N", help="of each range")
    p.add_argument("--size", type=_positive, nargs=2, required=True, metavar=("HEIGHT", "WIDTH"))
    p.add_argument("--mask", metavar="POLYGONS", help="what is hidden, as JSON")
    p.add_argument("--threads", required=True, type=_positive, metavar="N")
    p.add_argument("--timeout", type=float, required=True, metavar="SECONDS")
    p.add_argument("--out", required=True, metavar="H5")
    p.set_defaults(run=_sample_lessons)

    p = commands.add_parser(
        "tune-lora",
        help="learn a low-rank adapter from lessons",
        description="Learn a low-rank adapter for the text decoder. Its state is written every "
        "minute; a job that was ended goes on from there, with the same result.",
    )
    p.add_argument("--lessons", required=True, metavar="TSV", help="from list-lessons")
    p.add_argument("--frames", required=True, nargs="+", metavar="H5", help="from sample-lessons")
    _add_checkpoint(p)
    p.add_argument("--model-name", required=True, help="its short name, for the adapter's config")
    p.add_argument("--dtype", required=True, choices=DTYPES, help="of weights and computation")
    p.add_argument("--device", required=True, help="auto, cpu or cuda:0")
    p.add_argument("--threads", required=True, type=_positive, metavar="N", help="on a CPU")
    p.add_argument("--system", required=True, metavar="TEXT", help="may be empty")
    p.add_argument("--rank", required=True, type=_positive, metavar="N")
    for name in ("alpha", "dropout", "rate", "warmup", "decay"):
        p.add_argument(f"--{name}", required=True, type=float, metavar="X")
    p.add_argument("--lessons-a-step", required=True, type=_positive, metavar="N")
    p.add_argument("--epochs", required=True, type=_positive, metavar="N")
    p.add_argument("--seed", required=True, type=int)
    p.add_argument("--state", required=True, type=Path, metavar="DIR", help="of the training")
    p.add_argument("--every", type=float, default=60, metavar="SECONDS", help="between states")
    p.add_argument("--out", required=True, type=Path, metavar="DIR")
    p.set_defaults(run=_tune_lora)

    p = commands.add_parser(
        "merge-lora",
        help="write a checkpoint with an adapter added to its weights",
        description="Write a checkpoint folder that any `models.NAME.path` takes.",
    )
    p.add_argument("--adapter", required=True, type=Path, metavar="DIR", help="from tune-lora")
    _add_checkpoint(p)
    p.add_argument("--out", required=True, type=Path, metavar="DIR")
    p.set_defaults(run=_merge_lora)


def _add_checkpoint(p: argparse.ArgumentParser) -> None:
    p.add_argument("--model", required=True, help="checkpoint folder, hub id, or 'demo'")
    p.add_argument("--revision", required=True, help="commit or tag of a hub id; may be empty")
    p.add_argument(
        "--commit-file", required=True, type=Path, metavar="FILE", help="keeps a hub id's commit"
    )


def _list_lessons(arguments: argparse.Namespace) -> None:
    import sys

    from hhvad import sheet
    from hhvad.artifacts import probe
    from hhvad.datasets import lessons
    from hhvad.datasets.hivau_items import read_instructions, read_items, write_items
    from hhvad.errors import AnnotationError

    items = [one for path in arguments.lessons for one in read_items(path)]
    if arguments.instructions:
        found, empty, _ = read_instructions(arguments.instructions, arguments.annotations)
        items += found
        if empty:
            print(f"hhvad: note: {len(empty)} empty ranges left out", file=sys.stderr)
    videos = {video.video: video for video in sheet.read(arguments.sheet)}
    probes = {
        name: probe.read(arguments.probes_folder / f"{name}.json")
        for name, video in videos.items()
        if video.split != "reference"
    }
    kept, absent = lessons.choose(items, videos, probes)
    if not kept:
        raise AnnotationError(
            f"none of {len(items)} questions is about a video of {arguments.sheet}: a video's id "
            "must be the name that the questions have for it"
        )
    if absent:
        print(
            f"hhvad: note: {sum(absent.values())} questions about {len(absent)} videos that are "
            f"not in {arguments.sheet} left out",
            file=sys.stderr,
        )
    write_items(arguments.out, kept)


def _sample_lessons(arguments: argparse.Namespace) -> None:
    from hhvad import masks
    from hhvad.artifacts import probe
    from hhvad.datasets.hivau_items import read_items
    from hhvad.datasets.lessons import ranges
    from hhvad.media.probe import sample_frames
    from hhvad.media.samplers import uniform_of

    video = probe.read(arguments.probe)
    spans = ranges(read_items(arguments.lessons), arguments.video, video)
    whole = video.undamaged()
    sample_frames(
        arguments.path,
        video,
        arguments.out,
        video=arguments.video,
        view="focus",
        frames_per_segment=arguments.frames,
        segment_length=0,
        size=arguments.size,
        threads=arguments.threads,
        timeout=arguments.timeout,
        mask=masks.from_text(arguments.mask),
        spans=spans,
        picked=[uniform_of(whole, *span, arguments.frames).tolist() for span in spans],
    )


def _tune_lora(arguments: argparse.Namespace) -> None:
    from dataclasses import asdict

    from hhvad import checkpoint
    from hhvad.artifacts.hdf5 import open_artifact
    from hhvad.datasets.hivau_items import read_items
    from hhvad.files import digest

    _require_peft()
    from hhvad.mllm.tune import Lesson, Settings, tune, versions

    rows, made_from = {}, []
    for path in arguments.frames:
        with open_artifact(path, "frames") as (file, provenance):
            made_from.append(provenance)
            for row, (start, end) in enumerate(file["segments"][:].tolist()):
                rows[provenance["video"], start, end] = (path, row)
    items = [one for one in read_items(arguments.lessons) if _span(one) in rows]
    lessons = [Lesson(*rows[_span(one)], one.prompt, one.reference) for one in items]
    settings = Settings(
        rank=arguments.rank,
        alpha=arguments.alpha,
        dropout=arguments.dropout,
        rate=arguments.rate,
        warmup=arguments.warmup,
        decay=arguments.decay,
        batch=arguments.lessons_a_step,
        epochs=arguments.epochs,
        seed=arguments.seed,
        system=arguments.system,
    )
    model = checkpoint.resolve(arguments.model)
    revision = checkpoint.pinned(arguments.model, arguments.revision or None, arguments.commit_file)
    same: list[Any] = [
        asdict(settings),
        [[*_span(one), one.prompt, one.reference] for one in items],
    ]
    same += [made_from, checkpoint.stamp(model), revision, arguments.dtype, arguments.threads]
    progress = _Progress("steps")
    tune(
        model,
        lessons,
        settings,
        arguments.out,
        arguments.state,
        key=digest([*same, versions()]),
        name=arguments.model_name,
        revision=revision,
        dtype=arguments.dtype,
        device=arguments.device.split(",")[0],  # one learns
        threads=arguments.threads,
        every=arguments.every,
        progress=lambda done, total, loss: progress.progress(done, total, f", loss {loss:.3f}"),
    )
    progress.say(f"{arguments.out}: an adapter from {len(lessons)} lessons")


def _span(item: Any) -> tuple[str, int, int]:
    return item.video, item.start, item.end


def _merge_lora(arguments: argparse.Namespace) -> None:
    from hhvad import checkpoint

    _require_peft()
    from hhvad.errors import ConfigError
    from hhvad.mllm.tune import merge

    if arguments.out.exists():
        raise ConfigError(f"{arguments.out}: is there already; name a new folder")
    revision = checkpoint.pinned(arguments.model, arguments.revision or None, arguments.commit_file)
    merge(checkpoint.resolve(arguments.model), arguments.adapter, arguments.out, revision=revision)


def _require_peft() -> None:
    from importlib.util import find_spec

    from hhvad.errors import ConfigError

    if find_spec("peft") is None:
        raise ConfigError("tuning needs peft, which is not installed: pip install 'hhvad[tune]'")
