"""Commands of stage demo: the procedural videos, their sheet, the tiny model."""

from __future__ import annotations

import argparse
from typing import Any


def add_commands(commands: Any) -> None:
    """Add make-demo-video, make-demo-sheet and train-demo-model."""
    video = commands.add_parser("make-demo-video", help="draw and encode one demo video")
    video.add_argument("--video", required=True, metavar="ID")
    video.add_argument("--seed", type=int, default=0)
    video.add_argument("--out", required=True, metavar="MP4")
    video.set_defaults(run=_make_demo_video)

    table = commands.add_parser("make-demo-sheet", help="write the sheet of the demo videos")
    table.add_argument("--seed", type=int, default=0)
    table.add_argument("--folder", default="resources/demo", help="of the videos")
    table.add_argument("--out", required=True, metavar="TSV")
    table.set_defaults(run=_make_demo_sheet)

    model = commands.add_parser(
        "train-demo-model",
        help="train the tiny model on procedural scenes",
        description="Train the tiny model from scratch, or go on with an interrupted training.",
    )
    model.add_argument("--out", required=True, metavar="FOLDER", help="of the checkpoint")
    model.add_argument("--work", required=True, metavar="FOLDER", help="clips, optimiser state")
    model.add_argument("--steps", type=int, default=3100)
    model.add_argument(
        "--look", type=int, default=800, help="steps in which the vision encoder learns alone"
    )
    model.add_argument(
        "--quiet", type=int, default=1700, help="step from which heads rest unless they help"
    )
    model.add_argument("--batch", type=int, default=24, help="clips a step")
    model.add_argument("--lessons", type=int, default=24000, help="clips in the whole course")
    model.add_argument("--seed", type=int, default=0)
    model.add_argument("--threads", type=int, default=1)
    model.add_argument("--minutes", type=float, help="stop then; the same command goes on later")
    model.set_defaults(run=_train_demo_model)

    clip = commands.add_parser(
        "train-demo-clip", help="train the tiny CLIP on procedural scenes and their captions"
    )
    _add_course(clip, steps=2400, batch=12)
    clip.add_argument("--shots", type=int, default=8000, help="of six frames, in the whole course")
    clip.set_defaults(run=_train_demo_clip)

    llm = commands.add_parser(
        "train-demo-llm", help="train the tiny LLM to sum up and rate captions"
    )
    _add_course(llm, steps=2000, batch=20)
    llm.set_defaults(run=_train_demo_llm)


def _add_course(parser: Any, *, steps: int, batch: int) -> None:
    parser.add_argument("--out", required=True, metavar="FOLDER", help="of the checkpoint")
    parser.add_argument("--work", required=True, metavar="FOLDER", help="optimiser state")
    parser.add_argument("--steps", type=int, default=steps)
    parser.add_argument("--batch", type=int, default=batch, help="lessons per step")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--minutes", type=float, help="stop then; the same command goes on later")


def _make_demo_video(arguments: argparse.Namespace) -> None:
    from hhvad.demo.encode import encode
    from hhvad.demo.plan import scenes
    from hhvad.errors import SheetError

    known = scenes(arguments.seed)
    if arguments.video not in known:
        raise SheetError(
            f"video {arguments.video!r} is none of the demo's of seed {arguments.seed}, such as "
            f"{next(iter(known))!r}; make the sheet again with hhvad make-demo-sheet"
        )
    encode(known[arguments.video][1], arguments.out)


def _make_demo_sheet(arguments: argparse.Namespace) -> None:
    from hhvad import sheet
    from hhvad.demo.plan import videos
    from hhvad.files import write_tsv

    rows = [
        (v.video, v.path, v.split, v.label, v.category, sheet.format_events(v.events))
        for v in videos(arguments.seed, arguments.folder)
    ]
    write_tsv(arguments.out, sheet.COLUMNS, rows)


def _train_demo_model(arguments: argparse.Namespace) -> None:
    from hhvad.errors import ConfigError
    from hhvad.mllm.train_demo.internvl import train

    if not train(
        arguments.out,
        arguments.work,
        steps=arguments.steps,
        look=arguments.look,
        quiet=arguments.quiet,
        batch=arguments.batch,
        lessons=arguments.lessons,
        seed=arguments.seed,
        threads=arguments.threads,
        minutes=arguments.minutes,
    ):
        raise ConfigError(
            f"--minutes {arguments.minutes:g} are over before the training is: run the same "
            "command again to go on"
        )


def _train_demo_clip(arguments: argparse.Namespace) -> None:
    from hhvad.mllm.train_demo.clip import train

    _finish(train(arguments.out, arguments.work, shots=arguments.shots, **_course(arguments)))


def _train_demo_llm(arguments: argparse.Namespace) -> None:
    from hhvad.mllm.train_demo.llm import train

    _finish(train(arguments.out, arguments.work, **_course(arguments)))


def _course(arguments: argparse.Namespace) -> dict[str, Any]:
    names = ("steps", "batch", "seed", "threads", "minutes")
    return {name: getattr(arguments, name) for name in names}


def _finish(finished: bool) -> None:
    from hhvad.errors import ConfigError

    if not finished:
        raise ConfigError(
            "--minutes are over before the training is: run the same command again to go on"
        )
