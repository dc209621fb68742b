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
CLIP_L = 1.6e11  # FLOPs of a picture of 224 x 224: 304 M weights, 257 tokens


@dataclass(frozen=True)
class Model:
    """FLOPs of a segment under one prompt and all; bytes of its frames, features, one head."""

    one: float
    all: float
    frames: int
    features: int
    head: int


def model(name: str, prompts: int, frames: int | None = None) -> Model:
    """Count what one segment of a known geometry takes; frames: of a segment, if not its own."""
    geometry, meta = bench.geometries()[name], torch.device("meta")
    network = bench.random_network(geometry, meta, torch.bfloat16)
    tokenizer, size = bench._tokenizer(geometry.video), (geometry.size, geometry.size)
    pixels = Pixels((0.5,) * 3, (0.5,) * 3, 1 / 255, size)
    adapter = find(geometry.model_type)
    backbone = adapter(network.model, network.config, tokenizer, pixels)
    engine = Engine(backbone, tokenizer, device=meta, fingerprint="random")
    pictures = np.zeros((1, frames or geometry.frames, *size, 3), np.uint8)
    info = engine.info
    return Model(
        one=bench.flops(engine, pictures, bench.prompts(1)),
        all=bench.flops(engine, pictures, bench.prompts(prompts)),
        frames=pictures.nbytes,
        features=info.layers * info.heads * info.head_dim * FLOAT_BYTES,
        head=info.head_dim * FLOAT_BYTES,
    )


def lavad(words: argparse.Namespace) -> list[tuple[str, str]]:
    """GPU hours of LAVAD where one model captions, sums up and rates, and CLIP ViT-L/14 embeds.

    A caption is one pass over a frame and a decoding step per token of it; a summary and a rating
    each read their text and write an answer: 2 FLOPs per weight and token. Equal questions of a
    video are counted every time, so this is an upper bound.
    """
    geometry, meta = bench.geometries()[words.model], torch.device("meta")
    network = bench.random_network(geometry, meta, torch.bfloat16)
    weights = sum(one.numel() for one in network.model.language_model.parameters())
    frame = model(words.model, 1, frames=1).one
    windows = round(words.frames / words.stride + words.videos / 2)
    step = 2 * weights
    parts = {
        "captions": windows * (frame + step * words.caption_tokens),
        "summaries and ratings": windows * step * words.window_tokens,
        "vectors of frames": windows * CLIP_L,
    }
    hours = {name: flops / words.teraflops / 3.6e15 for name, flops in parts.items()}
    theirs = words.frames * (frame + step * words.caption_tokens) / words.teraflops / 3.6e15
    return [
        ("LAVAD: windows, each with one caption", f"{windows}"),
        *(
            (f"LAVAD: GPU hours of {name} at {words.teraflops:g} TFLOP/s", f"{value:.2f}")
            for name, value in hours.items()
        ),
        ("LAVAD: GPU hours in all", f"{sum(hours.values()):.2f}"),
        ("GPU hours of captions of every frame, one captioner", f"{theirs:.1f}"),
    ]


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
    parser.add_argument("--stride", type=int, default=16, help="of LAVAD")
    parser.add_argument("--caption-tokens", type=int, default=25, help="of a caption")
    parser.add_argument(
        "--window-tokens", type=int, default=550, help="of a window's questions and answers"
    )
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
    rows += lavad(words)
    print(f"| {words.model}, {words.videos} test videos | |\n|---|---|")
    for what, value in rows:
        print(f"| {what} | {value} |")


if __name__ == "__main__":
    main()
