"""Turns other people's checkpoints into ones that transformers reads, once."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Any


def add_commands(commands: Any) -> None:
    """Add convert-checkpoint."""
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
