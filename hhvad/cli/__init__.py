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

STAGES = (
    "videos",
    "models",
    "convert",
    "headhunt",
    "headhunt_ablate",
    "motion",
    "probe",
    "lavad",
    "lavad_ablate",
    "zero_shot",
    "locate",
    "alarms",
    "marks",
    "describe",
    "hivau",
    "report",
    "evaluate",
    "compare",
    "viewer",
    "masks",
    "annotate",
    "datasets",
    "demo",
    "run",
    "detect",
    "watch",
    "start",
)


class _Parser(argparse.ArgumentParser):
    """Argument errors in the form of every other error: one line, exit code 2."""

    def error(self, message: str) -> None:  # type: ignore[override]
        self.exit(2, f"hhvad: error: {message} (see '{self.prog} --help')\n")


def build_parser() -> argparse.ArgumentParser:
    """The parser with the commands of every stage."""
    parser = _Parser(prog="hhvad", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--version", action="version", version=f"hhvad {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for stage in STAGES:
        import_module(f"hhvad.cli.{stage}").add_commands(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command. A user's mistake is one line on stderr and exit code 2."""
    arguments = build_parser().parse_args(argv)
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
