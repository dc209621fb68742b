"""Commands of rules/methods/probe.smk."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hhvad.cli.models import _add_model, _ask, _check_fixed, add_rest, rest_of
from hhvad.errors import ArtifactError, ConfigError


def add_commands(commands: Any) -> None:
    """Add answer-questions and score-probe."""
    p = commands.add_parser(
        "answer-questions",
        help="how likely a model gives each of some answers to questions about each segment",
        description="Show a model each segment's frames and every question, and keep the "
        "log-probability of each answer. Nothing is decoded.",
    )
    p.add_argument("--frames", required=True, type=Path, metavar="H5", help="from sample-frames")
    add_rest(p)
    _add_model(p)
    p.add_argument("--question", action="append", metavar="TEXT", help="repeatable")
    p.add_argument("--answer", action="append", metavar="TEXT", help="repeatable")
    p.add_argument("--guide", metavar="YAML", help="instead of both: VERA's file of questions")
    p.add_argument("--system", required=True, metavar="TEXT", help="system message; may be empty")
    p.add_argument("--out", required=True, type=Path, metavar="H5")
    p.set_defaults(run=_answer_questions)

    p = commands.add_parser("score-probe", help="the mean probability of yes over the questions")
    p.add_argument("--answers", required=True, metavar="H5", help="from answer-questions")
    p.add_argument("--sigma", type=float, help="smoothing in segments; without it none")
    p.add_argument("--out", required=True, metavar="TSV")
    p.set_defaults(run=_score_probe)


def _answer_questions(arguments: Namespace) -> None:
    from hhvad.mllm.tasks.answer import Request

    if not arguments.frames.is_file():
        raise ArtifactError(f"{arguments.frames}: there is no such file")
    _check_fixed(arguments)
    if arguments.guide is not None:
        from hhvad.config import parse, read_yaml
        from hhvad.methods.vera.settings import Questions

        guide = parse(Questions, read_yaml(arguments.guide), arguments.guide)
        arguments.question, arguments.answer = [guide.text], list(guide.answers)
    if not arguments.question or not arguments.answer:
        raise ConfigError("give --question and --answer, or --guide")
    request = Request(
        frames=str(arguments.frames.absolute()),
        out=str(arguments.out.absolute()),
        prompts=tuple(arguments.question),
        answers=tuple(arguments.answer),
        system=arguments.system,
        batch_size=arguments.batch_size,
        model_name=arguments.model_name,
        revision=arguments.revision or None,
        rest=rest_of(arguments),
    )
    _ask(arguments, {"task": "answer", "about": request.frames, **asdict(request)})


def _score_probe(arguments: Namespace) -> None:
    from hhvad.artifacts import hdf5, scores
    from hhvad.methods.probe.score import score

    answers = hdf5.read(arguments.answers, "logprobs", ("logprobs", "segments"))
    bounds = answers["segments"]
    scores.write(arguments.out, bounds, score(answers["logprobs"], bounds, arguments.sigma))
