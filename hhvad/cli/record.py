"""`hhvad record`: write the pictures of cameras into files as they come."""

from __future__ import annotations

import math
import signal
import sys
import threading
import time
from argparse import ArgumentTypeError, Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hhvad.live.record.recorder import Recorder

_STATUS = 60.0  # seconds between two lines of status where there is no terminal


def add_commands(commands: Any) -> None:
    """Add record."""
    p = commands.add_parser(
        "record",
        help="write the pictures of cameras into files as they come",
        description="Write what cameras send into files of a minute, without decoding it: a "
        "process per camera, started again whenever it ends or hangs. `hhvad watch DIR` judges "
        "them.",
    )
    p.add_argument(
        "--camera",
        action="append",
        required=True,
        metavar="NAME=URL|PATH|@FILE",
        help="repeatable; an address of rtsp or http, a file, a folder that files come into, or "
        "@FILE that holds the address, so that a password in it shows nowhere",
    )
    p.add_argument("--out", type=Path, required=True, metavar="DIR", help="gets DIR/NAME/...")
    p.add_argument(
        "--seconds",
        type=_positive,
        default=60.0,
        metavar="SECONDS",
        help="of a file, which ends before the next key frame (default 60)",
    )
    p.add_argument(
        "--timeout",
        type=_positive,
        default=9.0,
        metavar="SECONDS",
        help="without a picture, after which a camera is connected anew (default 9)",
    )
    p.add_argument("--keep-days", type=_positive, metavar="DAYS", help="delete older files")
    p.add_argument(
        "--keep-gb", type=_positive, metavar="GB", help="delete the oldest files beyond so many GB"
    )
    p.add_argument(
        "--events",
        type=Path,
        metavar="JSONL",
        help="of `hhvad watch`: files that overlap an event are not deleted (default "
        "DIR/events.jsonl, if it is there)",
    )
    p.set_defaults(run=_record)


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        raise ArgumentTypeError(f"it is {text!r}; a number above 0")
    return value


def _record(arguments: Namespace) -> None:
    from hhvad.errors import VideoError
    from hhvad.live.record.recorder import Recorder
    from hhvad.live.record.source import parse_all, password_in

    sources = parse_all(arguments.camera)
    for text, source in zip(arguments.camera, sources, strict=True):
        if password_in(text):
            print(
                f"hhvad: note: --camera {source.camera}: everybody on this machine can read its "
                f"password in the list of processes; write the address into a file and give "
                f"{source.camera}=@FILE",
                file=sys.stderr,
            )
    is_terminal = sys.stderr.isatty()
    clear = "\r\x1b[K" if is_terminal else ""

    def say(line: str) -> None:
        print(f"{clear}hhvad: {line}", file=sys.stderr, flush=True)

    recorder = Recorder(
        sources,
        arguments.out,
        seconds=arguments.seconds,
        timeout=arguments.timeout,
        days=arguments.keep_days,
        gigabytes=arguments.keep_gb,
        events=arguments.events or arguments.out / "events.jsonl",
        say=say,
    )
    signal.signal(signal.SIGTERM, lambda *_: recorder.stop())
    threading.Thread(target=_show_status, args=(recorder, clear), daemon=True).start()
    try:
        recorder.run()
    finally:
        say(recorder.line())
    empty = [one.source for one in recorder.cameras if one.is_done and not one.files]
    if empty:
        raise VideoError(f"{empty[0].address}: nothing of it could be recorded")


def _show_status(recorder: Recorder, clear: str) -> None:
    """A line of status on a terminal, changed in place; elsewhere one a minute."""
    due = time.monotonic() + _STATUS
    while True:
        time.sleep(1.0)
        if clear:
            print(f"{clear}{recorder.line()}", end="", file=sys.stderr, flush=True)
        elif time.monotonic() > due:
            due = time.monotonic() + _STATUS
            print(f"hhvad: {recorder.line()}", file=sys.stderr, flush=True)
