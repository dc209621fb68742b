"""Day to day: add new videos to the sheet, share a detector, look into one."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

VIDEO_SUFFIXES = (".mp4", ".mkv", ".avi", ".mov", ".webm", ".m4v", ".mpg", ".mpeg", ".ts", ".wmv")


def add_commands(commands: Any) -> None:
    """Add add-videos, export-detector and show-detector."""
    add = commands.add_parser(
        "add-videos", help="append videos to the sheet as unlabelled test rows"
    )
    add.add_argument("paths", nargs="+", metavar="FOLDER_OR_FILE")
    add.add_argument("--sheet", default="config/videos.tsv")
    add.add_argument("--timeout", type=float, default=60.0, help="seconds to probe one file")
    add.set_defaults(run=_add_videos)

    export = commands.add_parser("export-detector", help="copy a detector, checked, to share it")
    export.add_argument("--detector", required=True)
    export.add_argument("--out", required=True)
    export.set_defaults(run=_export_detector)

    show = commands.add_parser("show-detector", help="say what a detector file holds")
    show.add_argument("detector")
    show.set_defaults(run=_show_detector)


def _files(paths: list[str]) -> list[Path]:
    from hhvad.errors import SheetError

    found: list[Path] = []
    for name in paths:
        path = Path(name)
        if path.is_dir():
            inside = (p for p in path.rglob("*") if p.suffix.lower() in VIDEO_SUFFIXES)
            found += sorted(p for p in inside if p.is_file())
        elif path.is_file():
            found.append(path)
        else:
            raise SheetError(f"{name}: there is no such file or folder")
    return list(dict.fromkeys(found))


def _add_videos(arguments: argparse.Namespace) -> None:
    import re

    from hhvad import sheet
    from hhvad.errors import SheetError, VideoError
    from hhvad.files import read_text, write_text
    from hhvad.media.probe import probe

    path = Path(arguments.sheet)
    if path.exists():
        text = read_text(path)
        known = sheet.read(path) if text.strip() and len(text.strip().splitlines()) > 1 else []
    else:
        text, known = "", []
    if not text.strip():
        text = "\t".join(sheet.COLUMNS) + "\n"
    header = text.splitlines()[0].split("\t")
    taken = {video.video.lower() for video in known}
    here = {Path(video.path).resolve() for video in known}
    lines, refused, skipped = [], [], 0
    for file in _files(arguments.paths):
        if file.resolve() in here:
            skipped += 1
            continue
        try:
            probe(file, timeout=arguments.timeout)
            if any(ord(char) < 32 for char in str(file)):
                raise VideoError(f"{file}: the name holds a control character; rename the file")
        except VideoError as error:
            refused.append(str(error))
            continue
        stem = re.sub(r"[^A-Za-z0-9._=#-]+", "_", file.stem).strip("._=#-") or "video"
        stem = re.sub(r"\.{2,}", ".", stem)[:150]
        name, number = stem, 2
        while name.lower() in taken:
            name, number = f"{stem}-{number}", number + 1
        taken.add(name.lower())
        row = {"video": name, "path": str(file), "split": "test"}
        lines.append("\t".join(row.get(column, "") for column in header))
    if lines:
        body = text if text.endswith("\n") else text + "\n"
        write_text(path, body + "\n".join(lines) + "\n")
    print(f"{path}: {len(lines)} videos added, {skipped} were there already")
    if refused:
        details = "; ".join(refused)
        raise SheetError(f"{len(refused)} files are no videos and were left out: {details}")


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
