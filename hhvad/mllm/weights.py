"""What a checkpoint's weight files say before they are loaded, and which number format to take."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch

from hhvad.errors import ModelError
from hhvad.files import read_json

# What weights are loaded as; float8 then rounds matrices once more (hhvad.mllm.float8).
DTYPES = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    "float8": torch.bfloat16,
}
_FLOATS = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}  # bytes of a number
_NAMES = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}

# Flags in /proc/cpuinfo of CPUs that multiply matrices of a format themselves. Others convert each
# number, and take some six times as long as in float32.
_FAST = {
    "bfloat16": {"amx_bf16", "avx512_bf16", "bf16"},
    "float16": {"amx_fp16", "avx512_fp16", "asimdhp"},
}
_ROOM = 2 * 2**30  # bytes beside the weights, for what is computed
_GIB = 2**30


class Precision(NamedTuple):
    """The dtype to load weights in, as hhvad names it or `auto`, and why if `auto` was asked."""

    dtype: str
    reason: str = ""


def check_weights(folder: Path, dtype: str) -> None:
    """Raise ModelError where weights are absent, damaged, or `auto` does not say which format."""
    kinds = set(_sizes(folder))
    if dtype == "auto" and len(kinds) > 1:
        raise ModelError(
            f"{folder}: the weights mix {' and '.join(sorted(kinds))}: set model.dtype to one of "
            f"{', '.join(DTYPES)}"
        )


def check_float8(device: torch.device) -> None:
    """Raise ModelError where the device multiplies no float8; a CPU does, slowly, for trying it."""
    if device.type == "cuda" and torch.cuda.get_device_capability(device) < (8, 9):
        name = torch.cuda.get_device_name(device)
        raise ModelError(
            f"dtype float8: {device} is a {name}, which does not multiply float8 (GPUs from Ada "
            "and Hopper on do): take bfloat16"
        )


def choose_precision(
    folder: Path, dtype: str, device: str, flags: set[str] | None, free: int | None
) -> Precision:
    """The format to compute in: what is asked; on a CPU, `auto` depends on what it can do.

    device: `cpu` or `cuda`. flags: of the CPU, None where unknown. free: bytes of memory, None
    where unknown. A checkpoint in bfloat16 or float16 is computed in float32 on a CPU that has no
    instructions for its format, if there is memory for twice its size.
    """
    if dtype != "auto" or device != "cpu":
        return Precision(dtype)
    stored = _stored(folder)
    if stored not in _FAST:
        return Precision(dtype)
    if flags is None or free is None:
        return Precision(stored, "as in the checkpoint: what this CPU can do is not known")
    able = sorted(_FAST[stored] & flags)
    if able:
        return Precision(stored, f"as in the checkpoint: this CPU has {able[0]}")
    numbers = sum(size // _FLOATS[kind] for kind, size in _sizes(folder).items())
    needed = 4 * numbers + _ROOM
    memory = f"float32 takes {needed / _GIB:.1f} GiB, {free / _GIB:.1f} GiB are free"
    if needed <= free:
        return Precision("float32", f"this CPU has no instructions for {stored}; {memory}")
    return Precision(stored, f"as in the checkpoint, though slow on this CPU: {memory}")


def computes(info: Any) -> str:
    """Number format and device of a loaded model, and why this format."""
    reason = f" ({info.dtype_reason})" if info.dtype_reason else ""
    return f"{info.dtype} on {info.device}{reason}"


def cpu_flags() -> set[str] | None:
    """The features that Linux lists for this machine's CPU; None elsewhere."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            name, _, words = line.partition(":")
            if name.strip() in ("flags", "Features"):
                return set(words.split())
    except OSError:
        pass
    return None


def free_memory() -> int | None:
    """Bytes that this process may still take, also within its control group; None if unknown."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        rows = {name: words.split() for name, _, words in (line.partition(":") for line in lines)}
        free = 1024 * int(rows["MemAvailable"][0])
    except (OSError, KeyError, ValueError, IndexError):
        return None
    return min([free, *_free_in_groups()])


def _free_in_groups() -> Iterator[int]:
    """Bytes left in each control group with a limit; files that are only cached count as free."""
    try:
        groups = [line.split(":", 2) for line in Path("/proc/self/cgroup").read_text().splitlines()]
    except OSError:
        return
    for _, controllers, path in groups:
        if controllers == "":
            root, names = Path("/sys/fs/cgroup"), ("memory.max", "memory.current")
        elif "memory" in controllers.split(","):
            root = Path("/sys/fs/cgroup/memory")
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes")
        else:
            continue
        inside = root / path.lstrip("/")
        for group in (inside, *inside.parents):
            if not group.is_relative_to(root):
                break
            try:
                limit, used = (int((group / name).read_text()) for name in names)
                lines = (group / "memory.stat").read_text().splitlines()
                stat = dict(line.split() for line in lines)
            except (OSError, ValueError):
                continue
            cached = sum(int(stat.get(f"{kind}_file", 0)) for kind in ("active", "inactive"))
            yield max(0, limit - used + cached)


def _stored(folder: Path) -> str | None:
    """The format that transformers takes for `auto`: config.json's, else that of the weights."""
    config = read_json(folder / "config.json")
    named = str(config.get("dtype") or config.get("torch_dtype") or "").removeprefix("torch.")
    return named or _NAMES.get(next(iter(_sizes(folder)), ""))


def _sizes(folder: Path) -> Counter[str]:
    """Bytes of all floating-point tensors by their format."""
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise ModelError(f"{folder}: no *.safetensors files; convert the weights to safetensors")
    sizes: Counter[str] = Counter()
    for file in files:
        for name, entry in header(file).items():
            if name != "__metadata__" and entry["dtype"] in _FLOATS:
                sizes[entry["dtype"]] += math.prod(entry["shape"]) * _FLOATS[entry["dtype"]]
    return sizes


def header(file: Path) -> dict[str, Any]:
    """The JSON header of a safetensors file: 8 bytes of length, then name -> dtype, shape."""
    try:
        with file.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            if length > 100 * 2**20:
                raise ValueError("a header of more than 100 MiB")
            content = json.loads(stream.read(length))
            end = max((e["data_offsets"][1] for n, e in content.items() if n != "__metadata__"))
            if stream.seek(0, 2) != 8 + length + end:
                raise ValueError("it is cut off")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"{file}: not a safetensors file ({error}); download it again") from error
    assert isinstance(content, dict)
    return content
