"""Commands that turn other people's checkpoints into ones that hhvad reads, once."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Any


def add_commands(commands: Any) -> None:
    """Add convert-checkpoint, convert-scorer and score-vectors."""
    p = commands.add_parser(
        "convert-checkpoint",
        help="write a checkpoint in the InternVL2 layout as transformers' InternVL",
        description="Write an InternVL2, 2.5 or 3 checkpoint (InternLM2 or Qwen2 decoder; "
        "HolmesVAU-2B is one) as a folder that transformers loads without foreign code. Only its "
        "config and safetensors are read.",
    )
    p.add_argument("source", metavar="SRC", type=Path, help="the checkpoint folder")
    p.add_argument("out", metavar="DST", type=Path, help="the new folder")
    p.add_argument(
        "--tokenizer",
        type=Path,
        metavar="FOLDER",
        help="a tokenizer of the same family in transformers' form (of any converted InternVL2.5 "
        "for InternLM2); by default SRC's own, where it is in that form",
    )
    p.add_argument(
        "--image-token-id", type=int, metavar="N", help="where no tokenizer tells its place"
    )
    p.add_argument(
        "--system",
        default="",
        metavar="TEXT",
        help="the message before every conversation that has none; by default none. A model that "
        "was trained with one answers best with it",
    )
    p.set_defaults(run=_convert_checkpoint)

    p = commands.add_parser(
        "convert-scorer",
        help="write the .pth of Holmes-VAU's anomaly scorer as safetensors, once",
        description="Read a .pth once, tensors alone (nothing in it is run), and write its UR-DMU "
        "head as safetensors. Other parameters are refused by name.",
    )
    p.add_argument("source", metavar="PTH", type=Path)
    p.add_argument("out", metavar="SAFETENSORS", type=Path)
    p.set_defaults(run=_convert_scorer)

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


def _convert_checkpoint(arguments: Namespace) -> None:
    import sys

    from hhvad.mllm.convert import convert

    made = convert(
        arguments.source,
        arguments.out,
        tokenizer=arguments.tokenizer,
        image_token_id=arguments.image_token_id,
        system=arguments.system,
    )
    print(
        f"{arguments.out}: {made['tensors']} tensors, decoder {made['decoder']}, image token "
        f"{made['image_token_id']}"
    )
    if made["tokenizer"] is None:
        print(
            f"hhvad: note: {arguments.source} has no tokenizer that is read without its code, so "
            f"{arguments.out} has none: convert again with --tokenizer before asking it",
            file=sys.stderr,
        )
