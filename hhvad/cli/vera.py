"""Commands of rules/methods/vera.smk."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from hhvad.cli.videos import add_fit


def add_commands(commands: Any) -> None:
    """Add sample-around and score-vera."""
    p = commands.add_parser(
        "sample-around",
        help="decode a video once and keep some frames of the window around each centre",
    )
    p.add_argument("--video", required=True, metavar="ID")
    p.add_argument("--path", required=True, help="the video file")
    p.add_argument("--probe", required=True, metavar="JSON", help="from probe-video")
    _add_stride(p)
    p.add_argument("--length", required=True, type=int, metavar="FRAMES", help="of a window")
    p.add_argument("--samples", required=True, type=int, help="frames per window")
    p.add_argument("--size", type=int, nargs=2, required=True, metavar=("HEIGHT", "WIDTH"))
    add_fit(p)
    p.add_argument("--mask", metavar="POLYGONS", help="what is hidden, as JSON")
    p.add_argument("--threads", type=int, required=True, metavar="N", help="that decode")
    p.add_argument("--timeout", type=float, required=True, metavar="SECONDS")
    p.add_argument("--out", required=True, metavar="H5")
    p.set_defaults(run=_sample_around)

    p = commands.add_parser("score-vera", help="scores from a model's answers about windows")
    p.add_argument("--answers", required=True, metavar="H5", help="from answer-questions")
    p.add_argument("--probe", required=True, metavar="JSON", help="from probe-video")
    _add_stride(p)
    p.add_argument("--length", required=True, type=int, metavar="FRAMES", help="of a window")
    p.add_argument("--samples", required=True, type=int, help="frames per window")
    p.add_argument("--rounded", action="store_true", help="answers count as 0 or 1")
    p.add_argument("--frame-vectors", metavar="H5", help="from embed-frames, for what is alike")
    p.add_argument("--share", type=float, default=0.15, help="of the windows that are alike")
    p.add_argument("--temperature", type=float, default=0.1, help="of the softmax over cosines")
    p.add_argument("--points", type=int, help="of the smoothing; without it none")
    p.add_argument("--sigma", type=float, default=10.0, help="of the smoothing")
    p.add_argument("--position-weight", action="store_true", help="a prior: the middle counts most")
    p.add_argument("--out", required=True, metavar="TSV")
    p.set_defaults(run=_score_vera)


def _add_stride(p: Any) -> None:
    p.add_argument("--stride", required=True, type=int, metavar="FRAMES", help="between centres")


def _windows(arguments: Namespace, video: Any) -> Any:
    from hhvad.methods.vera.windows import around

    return around(
        video.frames,
        stride=arguments.stride,
        length=arguments.length,
        samples=arguments.samples,
        damaged=video.damaged,
    )


def _sample_around(arguments: Namespace) -> None:
    from hhvad import masks
    from hhvad.artifacts import probe
    from hhvad.media.probe import sample_frames

    video = probe.read(arguments.probe)
    spans, picked = _windows(arguments, video)
    sample_frames(
        arguments.path,
        video,
        arguments.out,
        video=arguments.video,
        view="around",
        frames_per_segment=arguments.samples,
        segment_length=arguments.length,
        size=arguments.size,
        threads=arguments.threads,
        timeout=arguments.timeout,
        mask=masks.from_text(arguments.mask),
        fit=arguments.fit,
        spans=spans.tolist(),
        picked=picked.tolist(),
    )


def _score_vera(arguments: Namespace) -> None:
    import numpy as np

    from hhvad.artifacts import hdf5, probe
    from hhvad.artifacts import scores as score_files
    from hhvad.errors import ArtifactError
    from hhvad.methods.lavad import refine
    from hhvad.methods.lavad.index import unit
    from hhvad.methods.lavad.windows import Windows
    from hhvad.methods.vera import score

    video = probe.read(arguments.probe)
    file = hdf5.read(arguments.answers, "logprobs", ("logprobs", "segments"))
    spans, _ = _windows(arguments, video)
    if not np.array_equal(file["segments"], spans):
        raise ArtifactError(
            f"{arguments.answers}: its windows are not those of {arguments.probe}; delete it and "
            "rerun"
        )
    scores = score.answered(file["logprobs"], rounded=arguments.rounded)
    bounds = refine.segments(video.frames, arguments.stride, video.damaged)
    if arguments.frame_vectors is not None:
        known = hdf5.read(arguments.frame_vectors, "vectors", ("vectors", "indices"))
        grid = known["indices"]
        inside = [grid[(grid >= low) & (grid < high)] for low, high in spans.tolist()]
        vectors = refine.window_vectors(
            Windows(bounds[:, 0], inside), grid, unit(known["vectors"], arguments.frame_vectors)
        )
        scores = refine.by_windows(
            vectors, scores, share=arguments.share, temperature=arguments.temperature
        )
    if arguments.points is not None:
        scores = score.smoothed(scores, bounds, points=arguments.points, sigma=arguments.sigma)
    if arguments.position_weight:
        scores = score.by_position(scores)
    score_files.write(arguments.out, bounds, np.clip(scores, 0, 1))
