"""`hhvad init` and `hhvad run`: a study of one's own, run without knowing Snakemake."""

from __future__ import annotations

import argparse
import sys
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hhvad.cli.detect import ON_EVENT

LOOK = 5.0  # seconds between two looks for new events


def add_commands(commands: Any) -> None:
    """Add init, run and workflow-path."""
    init = commands.add_parser(
        "init",
        help="write the config and sheet of a new study",
        description="Write config/STUDY.yaml, config/STUDY.tsv and config/STUDY-prompts.yaml. What "
        "is not given is asked, where there is a terminal. Videos under FOLDER/normal and "
        "FOLDER/anomaly calibrate, all others are judged. Files that are there are kept.",
    )
    init.add_argument("--videos", metavar="FOLDER")
    init.add_argument("--model", metavar="PATH", help="checkpoint folder or hub id")
    init.add_argument("--study", metavar="NAME", help="by default the name of the folder")
    init.set_defaults(run=_init)

    run = commands.add_parser(
        "run",
        help="run a study and print what was found",
        description="Run the workflow here with Snakemake, and print what was found. What "
        "stands behind -- goes to Snakemake: hhvad run -- --dry-run.",
    )
    run.add_argument(
        "--config", metavar="YAML", help="by default the one config in config/, or the demo"
    )
    run.add_argument("--on-event", metavar="CMD", help=ON_EVENT)
    run.add_argument(
        "snakemake", nargs=argparse.REMAINDER, metavar="...", help="options of Snakemake, behind --"
    )
    run.set_defaults(run=_run)

    path = commands.add_parser(
        "workflow-path", help="print where the Snakefile is, for use with plain Snakemake"
    )
    path.set_defaults(run=_workflow_path)


def _workflow_path(arguments: Namespace) -> None:
    from hhvad.workflow_files import snakefile

    print(snakefile())


def _init(arguments: Namespace) -> None:
    import re

    import yaml

    from hhvad import checkpoint, sheet
    from hhvad.datasets.folder import new_rows
    from hhvad.errors import ConfigError, SheetError
    from hhvad.files import read_text, write_text
    from hhvad.workflow_files import workflow_folder

    folder = Path(arguments.videos or _ask("--videos", "Folder with your videos"))
    rows = new_rows([folder], [], labelled=True).rows
    if not rows:
        raise SheetError(f"{folder}: no video file in it that can be a row")
    model = arguments.model or _ask("--model", "Checkpoint folder or hub id of the model")
    checkpoint.resolve(model)
    named = re.sub(r"[^A-Za-z0-9._-]+", "-", folder.resolve().name).strip("._-")
    study = arguments.study or named or "study"
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", study):
        raise ConfigError(f"--study is {study!r}; use letters, digits and . _ - alone")
    config, table = Path(f"config/{study}.yaml"), Path(f"config/{study}.tsv")
    prompts = Path(f"config/{study}-prompts.yaml")
    for path in (config, table, prompts):
        if path.exists():
            raise ConfigError(f"{path}: is there already; move it, or give another --study")
    keys = {
        "study": study,
        "videos": str(table),
        "models": {"model": {"path": model}},
        "methods": {"headhunt": {"kind": "headhunt", "model": "model", "prompts": str(prompts)}},
    }
    sheet.append(table, rows)
    write_text(prompts, read_text(workflow_folder() / "config/prompts.yaml"))
    write_text(config, yaml.safe_dump(keys, sort_keys=False))
    calibrating = sum(row.split == "calibration" for row in rows)
    print(f"{table}: {calibrating} videos to calibrate, {len(rows) - calibrating} to judge")
    print(f"{config}: written; then: hhvad run --config {config}")


def _ask(flag: str, question: str) -> str:
    """A person's answer. Raises ConfigError where there is no terminal to ask at."""
    from hhvad.errors import ConfigError

    answer = input(f"{question}: ").strip() if sys.stdin.isatty() else ""
    if not answer:
        raise ConfigError(f"{flag} is required")
    return answer


def _run(arguments: Namespace) -> None:
    import os
    import subprocess

    from hhvad.errors import ConfigError, HHVADError
    from hhvad.workflow_files import config_here, snakefile, workflow_folder

    config = Path(arguments.config) if arguments.config else config_here()
    if not config.is_file():
        raise ConfigError(f"{config}: there is no such file")
    given = arguments.snakemake
    options = given[1:] if given[:1] == ["--"] else given
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(snakefile())]
    command += ["--workflow-profile", str(workflow_folder() / "profiles/default")]
    command += ["--configfile", str(config)]
    if not any(word.split("=")[0] in ("--cores", "-c", "--profile") for word in options):
        command += ["--cores", "all"]
    # Rules call `hhvad`: the one beside this Python.
    search = [str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]
    environment = {**os.environ, "PATH": os.pathsep.join(search)}
    dry = bool({"-n", "--dry-run", "--dryrun"} & set(options))
    with _teller(arguments.on_event, config, dry) as tell:
        code = _wait(subprocess.Popen([*command, *options], env=environment), tell)
    if code:
        raise HHVADError(f"Snakemake ended with status {code}; what it said is above")
    if not dry:
        show = [sys.executable, "-m", "hhvad", "show-results", "--config", str(config)]
        subprocess.run(show, check=False)


def _wait(process: Any, tell: Callable[[], None]) -> int:
    """Wait for Snakemake and tell of events meanwhile; its exit status."""
    import subprocess

    while True:
        try:
            status: int = process.wait(timeout=LOOK)
            return status
        except subprocess.TimeoutExpired:
            tell()
        except KeyboardInterrupt:
            pass  # the terminal has sent it to Snakemake too, which ends its jobs first


@contextmanager
def _teller(command: str | None, config: Path, dry: bool) -> Iterator[Callable[[], None]]:
    """A function that runs the command of --on-event for new events; also called at the end."""
    if command is None or dry:
        yield lambda: None
        return
    from hhvad.on_event import EventsOfStudy, OnEvent
    from hhvad.study import Study

    study = Study.read(str(config))
    events = EventsOfStudy(study)
    hook = OnEvent(command, study.results / "told.txt")

    def tell() -> None:
        for event in events.new():
            hook.tell(event)

    yield tell
    tell()
    hook.close()
