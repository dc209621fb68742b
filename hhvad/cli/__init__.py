"""The command line: one subcommand a rule, each also for use by hand.

Each module here adds the commands of one stage; what a command needs is imported inside its
handler, so that a light command starts in a fraction of a second.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module

from hhvad import __version__
from hhvad.errors import HHVADError

# The commands of each stage, so that one command need not wait for the parsers of all others.
STAGES: dict[str, tuple[str, ...]] = {
    "videos": ("probe-video", "sample-frames", "sample-thumbnails"),
    "models": (
        "capture-heads",
        "caption-frames",
        "complete-texts",
        "embed-frames",
        "embed-texts",
        "check-model",
        "stop-resident",
        "serve-model",
    ),
    "convert": ("convert-checkpoint",),
    "scorer": ("convert-scorer", "train-scorer", "score-vectors"),
    "headhunt": (
        "score-saliency",
        "identify-heads",
        "fit-scorer",
        "score-headhunt",
        "pack-detector",
        "unpack-locator",
        "export-detector",
        "show-detector",
        "plot-heads",
        "plot-features",
    ),
    "headhunt_ablate": ("fit-variants", "score-variants", "ablate-headhunt"),
    "motion": ("measure-motion", "score-motion"),
    "probe": ("answer-questions", "score-probe"),
    "lavad": (
        "sample-windows",
        "clean-captions",
        "ask-summaries",
        "read-summaries",
        "ask-ratings",
        "read-ratings",
        "refine-scores",
    ),
    "lavad_ablate": ("raw-captions", "list-captions", "score-ablations", "ablate-lavad"),
    "zero_shot": ("write-phrases", "score-zero-shot"),
    "locate": ("calibrate-locator", "localize-events"),
    "alarms": ("calibrate-budget", "localize-alarms"),
    "marks": ("learn-marks",),
    "describe": (
        "sample-focus",
        "sample-clips",
        "describe-clips",
        "describe-events",
        "describe-video",
        "report-descriptions",
    ),
    "hiprobe": ("score-layers",),
    "vera": ("sample-around", "learn-questions", "score-vera"),
    "cut": ("cut-clips",),
    "hivau": ("list-hivau", "answer-hivau", "score-texts"),
    "tune": ("list-lessons", "sample-lessons", "tune-lora", "merge-lora"),
    "report": ("plot-video", "plot-curves"),
    "evaluate": ("evaluate", "report-metrics"),
    "compare": ("compare-methods", "compare-costs"),
    "viewer": ("build-viewer", "add-marks"),
    "masks": ("show-mask",),
    "annotate": ("export-events", "import-annotations"),
    "datasets": ("make-sheet", "import-scores", "frame-counts", "add-videos"),
    "demo": (
        "make-demo-video",
        "make-demo-sheet",
        "train-demo-model",
        "train-demo-clip",
        "train-demo-llm",
    ),
    "run": (
        "check-config",
        "check-annotations",
        "label-segments",
        "list-failures",
        "show-results",
        "write-reference",
    ),
    "detect": ("detect",),
    "record": ("record",),
    "watch": ("watch",),
    "start": ("init", "run", "workflow-path"),
}


class _Parser(argparse.ArgumentParser):
    """Argument errors in the form of every other error: one line, exit code 2."""

    def error(self, message: str) -> None:  # type: ignore[override]
        self.exit(2, f"hhvad: error: {message} (see '{self.prog} --help')\n")


def build_parser(command: str | None = None) -> argparse.ArgumentParser:
    """The parser with the commands of every stage, or of the stage of a known `command` alone."""
    parser = _Parser(prog="hhvad", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--version", action="version", version=f"hhvad {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for stage in [name for name, its in STAGES.items() if command in its] or STAGES:
        import_module(f"hhvad.cli.{stage}").add_commands(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command. A user's mistake is one line on stderr and exit code 2."""
    words = sys.argv[1:] if argv is None else argv
    arguments = build_parser(words[0] if words else None).parse_args(words)
    try:
        arguments.run(arguments)
    except HHVADError as error:
        line = " ".join(str(error).split())
        print(f"hhvad: error: {line}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        return 1
    except KeyboardInterrupt:
        print("hhvad: stopped", file=sys.stderr)
        return 130
    return 0
