"""The UR-DMU head of Holmes-VAU: converted or trained, and its scores."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Any

from hhvad.cli.models import _positive, _Progress


def add_commands(commands: Any) -> None:
    """Add convert-scorer, train-scorer and score-vectors."""
    p = commands.add_parser(
        "convert-scorer",
        help="write the .pth of Holmes-VAU's anomaly scorer as safetensors, once",
        description="Read a .pth once, tensors alone (nothing in it is run), and write its UR-DMU "
        "head as safetensors. Other parameters are refused by name.",
    )
    p.add_argument("source", metavar="PTH", type=Path)
    p.add_argument("out", metavar="SAFETENSORS", type=Path)
    p.set_defaults(run=_convert_scorer)

    p = commands.add_parser(
        "train-scorer",
        help="train a UR-DMU head on class vectors of calibration videos",
        description="Train a UR-DMU head on videos of which the label is known: a reconstruction, "
        "since how Holmes-VAU trained its own is unpublished. Its state is written every few "
        "steps; a job that was ended goes on from there, with the same result.",
    )
    p.add_argument("--vectors", required=True, nargs="+", metavar="H5", help="from embed-frames")
    p.add_argument("--labels", required=True, nargs="+", choices=("normal", "anomaly"))
    for name in ("steps", "batch", "snippets", "hidden", "memory"):
        p.add_argument(f"--{name}", required=True, type=_positive, metavar="N")
    for name in ("rate", "decay", "dropout"):
        p.add_argument(f"--{name}", required=True, type=float, metavar="X")
    p.add_argument("--seed", required=True, type=int)
    p.add_argument("--threads", required=True, type=_positive, metavar="N")
    p.add_argument("--state", required=True, type=Path, metavar="DIR", help="of the training")
    p.add_argument("--out", required=True, type=Path, metavar="SAFETENSORS")
    p.add_argument("--table", required=True, type=Path, metavar="TSV", help="of the loss")
    p.set_defaults(run=_train_scorer)

    p = commands.add_parser("score-vectors", help="score class vectors by a trained head")
    p.add_argument("--vectors", required=True, metavar="H5", help="from embed-frames")
    p.add_argument("--weights", required=True, type=Path, metavar="SAFETENSORS")
    p.add_argument("--probe", required=True, metavar="JSON")
    p.add_argument("--stride", required=True, type=int, metavar="FRAMES", help="of the frames")
    p.add_argument("--out", required=True, metavar="TSV")
    p.set_defaults(run=_score_vectors)


def _convert_scorer(arguments: Namespace) -> None:
    from hhvad.mllm.convert import convert_scorer

    count = convert_scorer(arguments.source, arguments.out)
    print(f"{arguments.out}: {count} parameters")


def _score_vectors(arguments: Namespace) -> None:
    import numpy as np

    from hhvad.artifacts import hdf5, probe, scores
    from hhvad.errors import ArtifactError
    from hhvad.methods.lavad.clean import rows_of
    from hhvad.methods.lavad.refine import segments
    from hhvad.methods.scorer import network

    file = hdf5.read(arguments.vectors, "vectors", ("vectors", "indices"))
    if file.provenance.get("kind") != "class":
        raise ArtifactError(f"{arguments.vectors}: no class vectors; delete it and rerun")
    video = probe.read(arguments.probe)
    bounds = segments(video.frames, arguments.stride, video.damaged)
    vectors = file["vectors"][rows_of(bounds[:, 0], file["indices"])]
    found = network.score(network.read(arguments.weights), vectors)
    scores.write(arguments.out, bounds, np.clip(found.astype(np.float64), 0, 1))


def _train_scorer(arguments: Namespace) -> None:
    from hhvad.artifacts import hdf5
    from hhvad.errors import ArtifactError, ConfigError
    from hhvad.files import digest
    from hhvad.mllm.train_scorer import Settings, follows_from, train

    if len(arguments.labels) != len(arguments.vectors):
        raise ConfigError(
            f"--labels has {len(arguments.labels)} values, --vectors {len(arguments.vectors)}"
        )
    files = [hdf5.read(path, "vectors", ("vectors",)) for path in arguments.vectors]
    for path, file in zip(arguments.vectors, files, strict=True):
        if file.provenance.get("kind") != "class":
            raise ArtifactError(f"{path}: no class vectors; delete it and rerun")
    labelled = list(zip(files, arguments.labels, strict=True))
    names = ("steps", "batch", "snippets", "hidden", "memory", "rate", "decay", "dropout", "seed")
    settings = Settings(**{name: getattr(arguments, name) for name in names})
    made_from = [file.provenance for file in files]
    progress = _Progress("steps")
    train(
        [file["vectors"] for file, label in labelled if label == "normal"],
        [file["vectors"] for file, label in labelled if label == "anomaly"],
        settings,
        arguments.out,
        arguments.table,
        arguments.state,
        key=digest([follows_from(settings), arguments.labels, made_from, arguments.threads]),
        threads=arguments.threads,
        progress=lambda done, total, loss: progress.progress(done, total, f", loss {loss:.3f}"),
    )
    progress.say(f"{arguments.out}: a head from {len(files)} videos")
