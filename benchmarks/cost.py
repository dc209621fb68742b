"""What a run costs: jobs, GPU hours and disk, from the geometry of the model and of the dataset.

    python benchmarks/cost.py [--model internvl3-8b] [--videos 290] [--frames 1111808] ...

FLOPs are counted on the model itself, built without numbers. `--teraflops` is what the
GPU reaches: FLOPs a second of capture.py on it. The defaults are UCF-Crime's test split.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import capture as bench
import numpy as np
import torch

from hhvad.mllm.backbones.backbone import Pixels, find
from hhvad.mllm.engine import Engine

FLOAT_BYTES = 4


@dataclass(frozen=True)
class Model:
    """FLOPs of a segment under one prompt and all; bytes of its frames, features, one head."""

    one: float
    all: float
    frames: int
    features: int
    head: int


def model(name: str, prompts: int) -> Model:
    """Count what one segment of a known geometry takes."""
    geometry, meta = bench.geometries()[name], torch.device("meta")
    network = bench.random_network(geometry, meta, torch.bfloat16)
    tokenizer, size = bench._tokenizer(geometry.video), (geometry.size, geometry.size)
    pixels = Pixels((0.5,) * 3, (0.5,) * 3, 1 / 255, size)
    adapter = find(geometry.model_type)
    backbone = adapter(network.model, network.config, tokenizer, pixels)
    engine = Engine(backbone, tokenizer, device=meta, fingerprint="random")
    frames = np.zeros((1, geometry.frames, *size, 3), np.uint8)
    info = engine.info
    return Model(
        one=bench.flops(engine, frames, bench.prompts(1)),
        all=bench.flops(engine, frames, bench.prompts(prompts)),
        frames=frames.nbytes,
        features=info.layers * info.heads * info.head_dim * FLOAT_BYTES,
        head=info.head_dim * FLOAT_BYTES,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="internvl3-8b", help="a geometry of capture.py")
    parser.add_argument("--videos", type=int, default=290, help="test videos")
    parser.add_argument("--frames", type=int, default=1_111_808, help="frames of the test videos")
    parser.add_argument("--segment-length", type=int, default=48)
    parser.add_argument("--calibration", type=int, default=16, help="calibration videos")
    parser.add_argument("--prompts", type=int, default=5)
    parser.add_argument("--experts", type=int, default=5)
    parser.add_argument("--teraflops", type=float, default=400, help="what the GPU reaches")
    parser.add_argument("--bundle", type=int, default=16, help="videos of one allocation")
    words = parser.parse_args()

    cost = model(words.model, words.prompts)
    # The last segment of a video is shorter: half a segment more a video, on average.
    segments = round(words.frames / words.segment_length + words.videos / 2)
    flops = segments * cost.one + words.calibration * cost.all
    captures = words.videos + words.calibration * words.prompts
    # Test: probe, sample, capture, score, events, figure. Calibration: probe, sample, captures.
    jobs = words.videos * 6 + words.calibration * (2 + words.prompts)
    allocations = -(-(words.videos + words.calibration) // words.bundle)
    mean = cost.frames * segments / words.videos
    rows = [
        ("segments of the test videos", f"{segments}"),
        ("jobs of Snakemake", f"{jobs}, of them {captures} captures"),
        ("Slurm jobs with a GPU", f"{allocations} of {words.bundle} videos"),
        ("TFLOP a segment, one prompt", f"{cost.one / 1e12:.1f}"),
        (f"TFLOP a segment, {words.prompts} prompts", f"{cost.all / 1e12:.1f}"),
        (f"GPU hours at {words.teraflops:g} TFLOP/s", f"{flops / words.teraflops / 3.6e15:.2f}"),
        (
            "of them for calibration",
            f"{words.calibration * cost.all / words.teraflops / 3.6e15:.4f}",
        ),
        ("frames of a video on scratch, mean, GB", f"{mean / 1e9:.2f}"),
        ("features, all heads, GB", f"{segments * cost.features / 1e9:.2f}"),
        (
            f"features, {words.experts} experts, GB",
            f"{segments * words.experts * cost.head / 1e9:.3f}",
        ),
    ]
    print(f"| {words.model}, {words.videos} test videos | |\n|---|---|")
    for what, value in rows:
        print(f"| {what} | {value} |")


if __name__ == "__main__":
    main()
