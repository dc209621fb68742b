"""Commands that measure."""

from __future__ import annotations

import argparse
from typing import Any


def add_commands(commands: Any) -> None:
    """Add bench-capture."""
    p = commands.add_parser(
        "bench-capture",
        help="what capturing head features costs, on random weights",
        description="Builds a model of known geometry with random weights, captures synthetic "
        "frames and prints one table: speed, where the time goes, memory, FLOP utilisation and "
        "the ratio to one full generate() a segment and prompt. Needs no network and no files.",
    )
    p.add_argument(
        "--model",
        default="small",
        help="tiny, small, internvl3-2b, internvl3-8b, qwen2.5-vl-7b or llava-onevision-7b",
    )
    p.add_argument("--segments", type=_positive, default=4, help="segments to capture (4)")
    p.add_argument("--prompts", type=_positive, default=5, help="prompts on each segment (5)")
    p.add_argument("--device", default="auto", help="auto, cpu or cuda:N")
    p.add_argument("--dtype", default="auto", help="auto, float32, bfloat16 or float16")
    p.add_argument("--batch-size", type=_batch, default="auto", help="auto or segments a batch")
    p.add_argument("--threads", type=_positive, help="CPU threads of torch")
    p.add_argument(
        "--naive-segments", type=_positive, default=1, help="segments of the naive way (1)"
    )
    p.add_argument("--repeats", type=_positive, default=3, help="runs, the best counts (3)")
    p.set_defaults(run=_bench_capture)


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a number from 1")
    return value


def _batch(text: str) -> int | str:
    return text if text == "auto" else _positive(text)


def _bench_capture(arguments: argparse.Namespace) -> None:
    from hhvad.mllm import bench

    rows = bench.run(
        arguments.model,
        segments=arguments.segments,
        n_prompts=arguments.prompts,
        device=arguments.device,
        dtype=arguments.dtype,
        batch_size=arguments.batch_size,
        threads=arguments.threads,
        naive_segments=min(arguments.naive_segments, arguments.segments),
        repeats=arguments.repeats,
    )
    width = max(len(name) for name, _ in rows)
    print(f"| {'what':{width}} | value |\n|{'-' * (width + 2)}|---|")
    for name, value in rows:
        print(f"| {name:{width}} | {value} |")
