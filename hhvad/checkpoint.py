"""Where a model's checkpoint is, and when it counts as changed. Needs no torch."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from hhvad.errors import ArtifactError, ModelError
from hhvad.files import read_json, read_text, write_text

if TYPE_CHECKING:
    from hashlib import _Hash

DEMOS = {"demo": "model", "demo-clip": "clip", "demo-llm": "llm"}  # name -> folder in hhvad/demo
# The `model_type`s that turn frames and texts into vectors, and can do nothing else.
ENCODERS = frozenset({"clip", "metaclip_2", "siglip", "siglip2", "videoprism", "xclip"})
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)
_COMMIT = re.compile(r"[0-9a-f]{40}")
_LOADED = {".json", ".safetensors", ".jinja", ".txt", ".model"}
_SAMPLED = 64 * 2**20  # bytes; from larger safetensors files only samples are read
_MAX_HEADER = 100 * 2**20  # bytes; the limit of the safetensors format
_PLACES = 5  # samples per tensor, evenly spaced from its first byte to its last
_SAMPLE = 512  # bytes


def is_folder(model: str) -> bool:
    """Whether config's `model.path` stands for a folder (one that exists, or a demo model)."""
    return model in DEMOS or Path(model).is_dir()


def resolve(model: str) -> str:
    """The checkpoint folder or hub id behind config's `model.path`.

    `demo`, `demo-clip` and `demo-llm` are the shipped models. Raises ModelError for what can be
    neither a folder nor a hub id.
    """
    if model not in DEMOS:
        if not Path(model).is_dir() and not _HUB_ID.fullmatch(model):
            raise ModelError(
                f"{model}: there is no such checkpoint folder, and it is no hub id (owner/name); "
                "correct model.path"
            )
        return model
    folder = Path(__file__).parent / "demo" / DEMOS[model]
    if not (folder / "config.json").is_file():
        raise ModelError(
            f"model.path is {model!r}, but this installation lacks it; install hhvad again"
        )
    return str(folder)


def kind_of(folder: str | Path) -> str | None:
    """The `model_type` of a checkpoint; None where config.json is absent or names none.

    Raises ModelError for a file that holds no JSON object.
    """
    path = Path(folder) / "config.json"
    if not path.is_file():
        return None
    try:
        data = read_json(path)
    except ArtifactError as error:
        raise ModelError(str(error)) from error
    if not isinstance(data, dict):
        raise ModelError(f"{path}: not a JSON object")
    kind = data.get("model_type")
    return None if kind is None else str(kind)


def pinned(model: str, revision: str | None, file: Path) -> str | None:
    """The commit of a hub id that a study works with: looked up once, then what `file` says.

    A checkpoint folder has none: the revision is returned as it is. A revision that is a commit
    stands for itself. Raises ModelError where neither the hub nor its cache knows the revision, or
    the file is of another one.
    """
    if is_folder(model) or (revision and _COMMIT.fullmatch(revision)):
        return revision
    head = f"{model} {revision or 'main'} "
    if not file.is_file():
        write_text(file, f"{head}{_look_up(model, revision)}\n")
    found = read_text(file)
    commit = found.removeprefix(head).strip()
    if not found.startswith(head) or not _COMMIT.fullmatch(commit):
        raise ModelError(
            f"{file} holds {found.strip()[:120]!r}, but {model} is wanted at revision "
            f"{revision or 'main'}: delete the file to look its commit up again"
        )
    return commit


def _look_up(model: str, revision: str | None) -> str:
    """The commit of a hub id's revision, from the hub or else from the cache of an earlier load."""
    from huggingface_hub import HfApi, try_to_load_from_cache
    from huggingface_hub.errors import HfHubHTTPError

    try:
        return str(HfApi().model_info(model, revision=revision).sha)
    except (OSError, HfHubHTTPError) as error:  # OSError: no network, or HF_HUB_OFFLINE
        cached = try_to_load_from_cache(model, "config.json", revision=revision)
        if isinstance(cached, str):
            return Path(cached).parent.name
        reason = " ".join(str(error).split())[:200]
        raise ModelError(
            f"{model}: the hub does not say which commit revision {revision or 'main'} is "
            f"({reason}): check the id and the network, set models.NAME.revision to a commit, or "
            "download the model and give its folder"
        ) from error


def stamp(model: str) -> str:
    """A digest of a checkpoint folder's files: its captures are stale when it changes.

    Names, sizes and contents count, modification times do not. A file is read whole, except
    safetensors files over 64 MiB: of these the header and samples of every tensor are read, so that
    fine-tuned weights of the same size differ. A change of single values between the samples is
    missed. A hub id is its own stamp. Raises ModelError where a large file is no safetensors file.
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
        with path.open("rb", buffering=0) as file:
            if path.suffix == ".safetensors" and size > _SAMPLED:
                _add_samples(total, file, path)
            else:
                total.update(hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()[:16]


def _add_samples(total: _Hash, file: BinaryIO, path: Path) -> None:
    """Add a safetensors file's header and samples of every tensor to the digest."""
    try:
        length = int.from_bytes(file.read(8), "little")
        if length > _MAX_HEADER:
            raise ValueError("its header is too long")
        header = file.read(length)
        spans = sorted(
            tuple(entry["data_offsets"])
            for name, entry in json.loads(header).items()
            if name != "__metadata__"
        )
        total.update(header)
        for start, end in spans:
            for place in _places(end - start):
                file.seek(8 + length + start + place)
                total.update(file.read(min(_SAMPLE, end - start)))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"{path}: not a safetensors file ({error}); download it again") from error


def _places(size: int) -> list[int]:
    """Where the samples of a tensor of `size` bytes start; together they are all of a small one."""
    if size <= _PLACES * _SAMPLE:
        return list(range(0, size, _SAMPLE))
    return [(size - _SAMPLE) * place // (_PLACES - 1) for place in range(_PLACES)]
