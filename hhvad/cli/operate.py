"""Share a detector, look into one."""

from __future__ import annotations

import argparse
from typing import Any


def add_commands(commands: Any) -> None:
    """Add export-detector and show-detector."""
    export = commands.add_parser("export-detector", help="copy a detector, checked, to share it")
    export.add_argument("--detector", required=True)
    export.add_argument("--out", required=True)
    export.set_defaults(run=_export_detector)

    show = commands.add_parser("show-detector", help="say what a detector file holds")
    show.add_argument("detector")
    show.set_defaults(run=_show_detector)


def _export_detector(arguments: argparse.Namespace) -> None:
    from hhvad.artifacts import hdf5 as artifacts

    content = artifacts.read(arguments.detector, "detector")
    artifacts.write(arguments.out, "detector", content.arrays, content.provenance)
    print(f"{arguments.out}: detector of model {content.provenance.get('model')}")


def _show_detector(arguments: argparse.Namespace) -> None:
    from hhvad.methods.headhunt import detector

    rows = detector.summary(arguments.detector)
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        print(f"{name:<{width}}  {value}")
