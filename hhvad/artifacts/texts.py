"""JSONL files of texts: the first line says what the others are, and what they were made from.

The header holds `schema`, `version`, `provenance` and `digest` (of the provenance and all rows);
each line after it is one JSON object. Nothing in a file depends on when or where it was written.

| schema | a row |
|---|---|
| texts | segment, start, end (frames, end exclusive), text, tokens, cut (the limit ended it) |
| requests | id, messages (role and content of each) |
| answers | id, answer, tokens, cut |
| cleaned | centre, frames and texts (of the window's frames), cosines |
| summaries | centre, answer, text (the part of the answer that is kept) |
| phrases | text, anomalous |
| descriptions | level, event, part, start, end, question, answer, tokens, cut, key |
| hivau | id (of an item of list-hivau), answer, tokens, cut |
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hhvad import __version__
from hhvad.errors import ArtifactError
from hhvad.files import digest, read_text, write_text

SCHEMA_VERSIONS = {
    "texts": 1,
    "requests": 1,
    "answers": 1,
    "cleaned": 2,
    "summaries": 2,
    "phrases": 1,
    "descriptions": 1,
    "hivau": 1,
}

Row = dict[str, Any]


@dataclass(frozen=True)
class Texts:
    """The content of one file."""

    path: Path
    rows: list[Row]
    provenance: dict[str, Any]


def write(
    path: str | Path, schema: str, rows: Iterable[Row], provenance: Mapping[str, Any]
) -> None:
    """Write rows atomically. The package version is added to the provenance."""
    content = list(rows)
    full = {**provenance, "hhvad": __version__}
    header = {"schema": schema, "version": SCHEMA_VERSIONS[schema], "provenance": full}
    lines: list[Any] = [header | {"digest": digest([full, content])}, *content]
    write_text(path, "".join(_line(line) for line in lines))


def _line(data: Any) -> str:
    return json.dumps(data, ensure_ascii=False, allow_nan=False) + "\n"


def read(path: str | Path, schema: str | None = None) -> Texts:
    """Read a file whole, of any schema where none is given.

    Raises ArtifactError where it is absent, damaged or of another schema.
    """
    lines = read_text(path).split("\n")  # texts may hold other ends of lines
    try:
        header, *rows = [json.loads(line) for line in lines if line]
        found = header["schema"], header["version"]
        provenance, seal = header["provenance"], header["digest"]
    except (ValueError, KeyError, TypeError) as error:
        raise ArtifactError(f"{path}: not a file of texts; delete it and rerun") from error
    name = found[0] if schema is None else schema
    wanted = name, SCHEMA_VERSIONS.get(name)
    if found != wanted:
        raise ArtifactError(
            f"{path}: schema is {found[0]!r} version {found[1]}, expected {wanted[0]!r} version "
            f"{wanted[1]}; delete the file and rerun"
        )
    if seal != digest([provenance, rows]):
        raise ArtifactError(f"{path}: is damaged (its digest differs); delete it and rerun")
    return Texts(Path(path), rows, provenance)


def check_same(files: Sequence[Texts], keys: Iterable[str]) -> None:
    """Refuse files that differ in a key of their provenance: ArtifactError names two of them."""
    for key in keys:
        for other in files[1:]:
            first, second = files[0].provenance.get(key), other.provenance.get(key)
            if first != second:
                raise ArtifactError(
                    f"{files[0].path} and {other.path} do not belong together: {key} is "
                    f"{first!r} in one, {second!r} in the other"
                )
