"""The reader of `<results>/locator/{method}.json`."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

from hhvad.errors import ArtifactError, DataError
from hhvad.files import read_json
from hhvad.localization.budget import Thresholds
from hhvad.localization.locator import Locator

# Keys that came later, and what files without them mean.
_LATER = {"passes": 1, "tail": "keep", "budget": None, "causal": False}


def read(path: str | Path) -> Locator:
    """The locator of a method. Raises ArtifactError where the file is absent or not a locator."""
    return from_json(read_json(path), path)


def from_json(data: Any, path: str | Path) -> Locator:
    """The inverse of `Locator.to_json`; path is the file that it stands in.

    Raises ArtifactError where it is not a locator.
    """
    names = {field.name for field in fields(Locator)}
    if not isinstance(data, dict) or not names - set(_LATER) <= set(data):
        raise ArtifactError(f"{path}: a locator has {', '.join(sorted(names))}; delete it, rerun")
    if unknown := sorted(set(data) - names):
        raise ArtifactError(f"{path}: made by another hhvad: a locator has no {unknown[0]!r}")
    data = _LATER | data
    numbers = [data[name] for name in ("sigma", "tau", "passes")]
    numbers += [] if data["f1"] is None else [data["f1"]]
    if (
        not all(isinstance(one, int | float) and not isinstance(one, bool) for one in numbers)
        or not isinstance(data["calibrated"], bool)
        or not isinstance(data["causal"], bool)
        or not isinstance(data["border"], str)
        or not isinstance(data["tail"], str)
        or not isinstance(data["how"], str)
    ):
        raise ArtifactError(f"{path}: a value has the wrong type; delete the file and rerun")
    try:
        budget = None if data["budget"] is None else Thresholds.from_json(data["budget"])
    except (KeyError, TypeError, AttributeError, ValueError, DataError) as error:
        raise ArtifactError(f"{path}: its budget is damaged ({error}); delete it, rerun") from error
    try:
        return Locator(**data | {"budget": budget})
    except DataError as error:
        raise ArtifactError(f"{path}: {error}; delete the file and rerun") from error
