"""Where a model's checkpoint is, and when it counts as changed. Needs no torch."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from hhvad.errors import ModelError

DEMO = "demo"
_HASHED_WHOLE = 64 * 2**20  # bytes; larger files are told apart by name and size
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)
_LOADED = {".json", ".safetensors", ".jinja", ".txt", ".model"}


def resolve(model: str) -> str:
    """The checkpoint folder or hub id behind config's `model.path`; `demo` is the shipped model.

    Raises ModelError for what can be neither.
    """
    if model != DEMO:
        if not Path(model).is_dir() and not _HUB_ID.fullmatch(model):
            raise ModelError(
                f"{model}: there is no such checkpoint folder, and it is no hub id (owner/name); "
                "correct model.path"
            )
        return model
    folder = Path(__file__).parent / "demo" / "model"
    if not (folder / "config.json").is_file():
        raise ModelError(
            "model.path is 'demo', but this installation lacks it; install hhvad again"
        )
    return str(folder)


def stamp(model: str) -> str:
    """A digest of a checkpoint folder's files: its captures are stale when it changes.

    Small files count with their content, large ones with name and size. A hub id is its own stamp,
    since its revision says the rest. Modification times do not count.
    """
    folder = Path(resolve(model))
    if not folder.is_dir():
        return model
    total = hashlib.sha256()
    for path in sorted(p for p in folder.iterdir() if p.is_file()):
        if path.suffix not in _LOADED or path.name == "training.json":
            continue
        size = path.stat().st_size
        total.update(f"{path.name}\0{size}\0".encode())
        if size <= _HASHED_WHOLE:
            total.update(path.read_bytes())
    return total.hexdigest()[:16]
