"""What text of a frozen model costs: captions of frames, and answers of the text decoder alone.

    python benchmarks/generate.py [--model internvl3-8b] [--device cuda:0] ...

Models of real geometry with random weights, as in capture.py, against transformers' own `generate`
on the same batches.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from capture import Meter, _device_name, _inputs, build, geometries, peak_memory, print_table

from hhvad.errors import ModelError


def run(
    model: str,
    *,
    device: str = "auto",
    batches: tuple[int, ...] = (1, 8, 64),
    tokens: int = 32,
    words: int = 400,
    repeats: int = 2,
) -> list[tuple[str, str]]:
    """Rows of (what, value): tokens/s of captions (one frame each) and answers, by batch size."""
    network, engine, geometry = build(model, device)
    engine._voice = lambda: (network.lm_head.weight, {-1})  # type: ignore[method-assign]
    size, meter = geometry.size, Meter(engine.device)
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (max(batches), 1, size, size, 3), dtype=np.uint8)
    asked = [{"role": "user", "content": "a" * words}]
    rows = [("model", model), ("device", _device_name(engine.device))]

    def best(way: Callable[[], Any]) -> float:
        way()
        return min(meter.time(way) for _ in range(repeats))

    for rows_at_once in batches:
        shown = frames[:rows_at_once]
        ours = best(
            lambda: engine.generate(
                shown,  # noqa: B023
                "What is here?",
                max_tokens=tokens,
                batch_size=rows_at_once,  # noqa: B023
            )
        )
        theirs = best(lambda: _generate(network, engine, shown, tokens))  # noqa: B023
        rows.append(
            (
                f"captions of {tokens} tokens, {rows_at_once} at once",
                f"{rows_at_once * tokens / ours:.0f} tokens/s, {rows_at_once / ours:.3g} captions/s"
                f"; transformers' generate / ours {theirs / ours:.2f}",
            )
        )
    for rows_at_once in batches:
        spent = best(
            lambda: engine.complete(
                [asked] * rows_at_once,  # noqa: B023
                max_tokens=tokens,
                batch_size=rows_at_once,  # noqa: B023
            )
        )
        rows.append(
            (
                f"answers of {tokens} tokens to {words}, {rows_at_once} at once",
                f"{rows_at_once * tokens / spent:.0f} tokens/s, "
                f"{rows_at_once / spent:.3g} answers/s",
            )
        )
    rows.append(("peak memory", f"{peak_memory(engine.device) / 2**30:.2f} GiB"))
    return rows


def _generate(network: Any, engine: Any, frames: Any, tokens: int) -> None:
    count, _, height, width, _ = frames.shape
    ids = torch.tensor(
        [engine.tokenizer(engine._text("What is here?", 1, height, width))["input_ids"]] * count,
        device=engine.device,
    )
    batch = torch.from_numpy(frames).to(engine.device)
    with torch.inference_mode():
        network.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=tokens,
            min_new_tokens=tokens,
            do_sample=False,
            **_inputs(engine.backbone, engine.backbone.pixels(batch, engine.dtype), ids),
        )


def main(argv: list[str] | None = None) -> int:
    """Print one table."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--model", default="small", help=", ".join(geometries()))
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda:N")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8, 64])
    parser.add_argument("--tokens", type=int, default=32, help="of an answer (32)")
    options = parser.parse_args(argv)
    try:
        rows = run(
            options.model,
            device=options.device,
            batches=tuple(options.batches),
            tokens=options.tokens,
        )
    except ModelError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print_table(rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
