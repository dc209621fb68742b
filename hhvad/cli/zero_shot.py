"""Commands of rules/methods/zero_shot.smk."""

from __future__ import annotations

from argparse import Namespace
from typing import Any


def add_commands(commands: Any) -> None:
    """Add write-phrases and score-zero-shot."""
    p = commands.add_parser("write-phrases", help="write what pictures are compared with")
    p.add_argument("--normal", nargs="+", required=True, metavar="TEXT")
    p.add_argument("--anomalous", nargs="+", required=True, metavar="TEXT")
    p.add_argument("--out", required=True, metavar="JSONL")
    p.set_defaults(run=_write_phrases)

    p = commands.add_parser("score-zero-shot", help="how near frames are to phrases of anomalies")
    p.add_argument("--phrases", required=True, metavar="JSONL", help="from write-phrases")
    p.add_argument("--phrase-vectors", required=True, metavar="H5", help="from embed-texts")
    p.add_argument("--frame-vectors", required=True, metavar="H5", help="from embed-frames")
    p.add_argument("--probe", required=True, metavar="JSON")
    p.add_argument("--stride", required=True, type=int, metavar="FRAMES", help="of the frames")
    p.add_argument("--temperature", required=True, type=float)
    p.add_argument("--out", required=True, metavar="TSV")
    p.set_defaults(run=_score_zero_shot)


def _write_phrases(arguments: Namespace) -> None:
    from hhvad.artifacts import texts

    rows = [{"text": text, "anomalous": False} for text in arguments.normal]
    rows += [{"text": text, "anomalous": True} for text in arguments.anomalous]
    texts.write(arguments.out, "phrases", rows, {})


def _score_zero_shot(arguments: Namespace) -> None:
    import numpy as np

    from hhvad.artifacts import hdf5, probe, scores, texts
    from hhvad.methods.lavad.clean import rows_of
    from hhvad.methods.lavad.refine import segments
    from hhvad.methods.zero_shot.score import score_phrases

    frames = hdf5.read(arguments.frame_vectors, "vectors", ("vectors", "indices"))
    phrases = hdf5.read(arguments.phrase_vectors, "vectors", ("vectors", "unique"))
    hdf5.require_same([frames, phrases], ("fingerprint",))
    rows = texts.read(arguments.phrases, "phrases").rows
    video = probe.read(arguments.probe)
    bounds = segments(video.frames, arguments.stride, video.damaged)
    found = score_phrases(
        frames["vectors"][rows_of(bounds[:, 0], frames["indices"])],
        phrases["vectors"][phrases["unique"]],
        np.array([row["anomalous"] for row in rows]),
        temperature=arguments.temperature,
    )
    scores.write(arguments.out, bounds, np.clip(found, 0, 1))
