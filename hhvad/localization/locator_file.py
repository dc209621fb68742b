"""The reader of `<results>/locator/{method}.json`."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

from hhvad.errors import ArtifactError, DataError
from hhvad.files import read_json
from hhvad.localization.locator import Locator


def read(path: str | Path) -> Locator:
    """The locator of a method. Raises ArtifactError where the file is absent or not a locator."""
    data = read_json(path)
    names = {field.name for field in fields(Locator)}
    if not isinstance(data, dict) or set(data) != names:
        raise ArtifactError(f"{path}: a locator has {', '.join(sorted(names))}; delete it, rerun")
    numbers = [data[name] for name in ("sigma", "tau", "passes")]
    numbers += [] if data["f1"] is None else [data["f1"]]
    if (
        not all(isinstance(one, int | float) and not isinstance(one, bool) for one in numbers)
        or not isinstance(data["calibrated"], bool)
        or not isinstance(data["border"], str)
        or not isinstance(data["tail"], str)
        or not isinstance(data["how"], str)
    ):
        raise ArtifactError(f"{path}: a value has the wrong type; delete the file and rerun")
    try:
        return Locator(**data)
    except DataError as error:
        raise ArtifactError(f"{path}: {error}; delete the file and rerun") from error
