"""Commands of rules/methods/motion.smk."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from hhvad.cli.models import add_rest, rest_of


def add_commands(commands: Any) -> None:
    """Add measure-motion and score-motion."""
    p = commands.add_parser(
        "measure-motion", help="mean absolute difference of neighbouring frames of each segment"
    )
    p.add_argument("--frames", required=True, metavar="H5", help="from sample-frames")
    add_rest(p)
    p.add_argument("--out", required=True, metavar="TSV")
    p.set_defaults(run=_measure_motion)

    p = commands.add_parser("score-motion", help="scale motion by that of the calibration videos")
    p.add_argument("--motion", required=True, metavar="TSV", help="from measure-motion")
    p.add_argument("--calibration", nargs="+", required=True, metavar="TSV")
    p.add_argument("--quantile", type=float, required=True, help="of calibration segments")
    p.add_argument("--out", required=True, metavar="TSV")
    p.set_defaults(run=_score_motion)


def _measure_motion(arguments: Namespace) -> None:
    from hhvad.artifacts import hdf5
    from hhvad.files import write_tsv
    from hhvad.media.frames import open_frames
    from hhvad.methods.motion import motion

    bounds = hdf5.read(arguments.frames, "frames", ("segments",))["segments"].tolist()
    with open_frames(arguments.frames, rest_of(arguments)) as segments:
        energies = [motion.energy(frames) for frames in segments]
    rows = [(*segment, energy) for segment, energy in zip(bounds, energies, strict=True)]
    write_tsv(arguments.out, ("start_frame", "end_frame", "motion"), rows)


def _score_motion(arguments: Namespace) -> None:
    from hhvad.artifacts import scores
    from hhvad.methods.motion import motion

    bounds, (energies,) = scores.read_video(arguments.motion, ("motion",))
    others = [scores.read_video(path, ("motion",))[1][0] for path in arguments.calibration]
    scores.write(arguments.out, bounds, motion.score(energies, others, arguments.quantile))
