"""Files at the edge: atomic writes, JSON and TSV as people read them.

Every file of ours appears under its name only when it is whole: it is written under a temporary
name in its own folder, flushed to disk and renamed. A killed job leaves the old file or none; what
it leaves under the temporary name goes when the file is next written.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from hhvad.errors import ArtifactError

# Seconds without a write after which a partial file of another machine is taken for abandoned.
_ABANDONED = 3600


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """A temporary path in the folder of `path`, renamed to it if the block ends without error.

    Raises ArtifactError when the folder cannot be written or the disk is full.
    """
    final = Path(path)
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        prefix = sweep(final)
        handle, name = tempfile.mkstemp(dir=final.parent, prefix=prefix, suffix=final.suffix)
        os.close(handle)
    except OSError as error:
        raise ArtifactError(f"{final}: cannot be written: {error.strerror or error}") from error
    partial = Path(name)
    try:
        yield partial
        with partial.open("rb+") as file:
            os.fsync(file.fileno())
        os.chmod(partial, 0o666 & ~_umask())
        os.replace(partial, final)
    except OSError as error:
        raise ArtifactError(f"{final}: cannot be written: {error.strerror or error}") from error
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """A temporary folder beside `path`, which is not there, renamed to it if the block ends well.

    Raises ArtifactError when it cannot be written or the disk is full.
    """
    final = Path(path)
    partial = final.parent / f".hhvad-{digest(final.name)[:12]}-partial"
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        yield partial
        partial.rename(final)
    except OSError as error:
        raise ArtifactError(f"{final}: cannot be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def sweep(path: str | Path) -> str:
    """Remove what killed processes left of earlier tries at a file; the prefix of a new one.

    A name tells the file, the machine and the process.
    """
    final = Path(path)
    mine = f".hhvad-{digest(final.name)[:12]}-"
    for partial in final.parent.glob(f"{mine}*"):
        _remove_abandoned(partial)
    return f"{mine}{digest(platform.node())[:8]}-{os.getpid()}-"


def sweep_folder(folder: str | Path) -> None:
    """Remove what killed processes left under temporary names anywhere below a folder."""
    for partial in Path(folder).rglob(".hhvad-*"):
        _remove_abandoned(partial)


def _remove_abandoned(partial: Path) -> None:
    """Of another machine's processes nothing is known here: theirs go after an hour unwritten."""
    words = partial.name.split("-")
    with suppress(OSError):
        if len(words) > 3 and words[2] == digest(platform.node())[:8] and words[3].isdecimal():
            dead = not Path(f"/proc/{words[3]}").exists()
        else:
            dead = time.time() - partial.stat().st_mtime > _ABANDONED
        if dead:
            partial.unlink()


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def write_text(path: str | Path, text: str) -> None:
    """Write text atomically, UTF-8 with Unix newlines."""
    with atomic_path(path) as partial:
        partial.write_text(text, encoding="utf-8", newline="\n")


def read_text(path: str | Path) -> str:
    """Read a UTF-8 text file; ArtifactError where it is absent or not text."""
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise ArtifactError(f"{path}: there is no such file") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ArtifactError(f"{path}: cannot be read as text: {error}") from error


def write_json(path: str | Path, data: Any) -> None:
    """Write JSON atomically: two-space indent, keys in the order given, no NaN (ValueError)."""
    write_text(path, json.dumps(data, indent=2, allow_nan=False, ensure_ascii=False) + "\n")


def read_json(path: str | Path) -> Any:
    """Read a JSON file; ArtifactError names the line where it is not JSON."""
    try:
        return json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise ArtifactError(f"{path}: not JSON (line {error.lineno}: {error.msg})") from error


def write_tsv(path: str | Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a tab-separated table with a header line; floats as their shortest exact repr."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, delimiter="\t", lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow(["" if value is None else value for value in row])
    write_text(path, buffer.getvalue())


def read_tsv(path: str | Path, columns: Sequence[str] = ()) -> list[dict[str, str]]:
    """Read a tab-separated table with a header; ArtifactError where one of `columns` is absent."""
    return parse_tsv(path, read_text(path), columns)


def parse_tsv(path: str | Path, text: str, columns: Sequence[str] = ()) -> list[dict[str, str]]:
    """The rows of a tab-separated text with a header; path is named in errors, as read_tsv's."""
    reader = csv.DictReader(io.StringIO(text), delimiter="\t")
    header = reader.fieldnames or []
    absent = [name for name in columns if name not in header]
    if absent:
        raise ArtifactError(f"{path}: column {absent[0]!r} is absent; the header has {header}")
    rows = []
    for number, row in enumerate(reader, start=2):
        if None in row or None in row.values():
            raise ArtifactError(f"{path}: line {number} has not {len(header)} columns")
        rows.append(dict(row))
    return rows


def digest(data: Any) -> str:
    """A short stable digest of JSON-like data: for a rule's params instead of a long list."""
    text = json.dumps(data, sort_keys=True, default=_plain, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    return list(value) if isinstance(value, (tuple, set)) else str(value)
