"""Which number format `auto` is, by what the CPU can do and the memory that is free."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import safetensors.torch
import torch

from hhvad.errors import ModelError
from hhvad.mllm import weights
from hhvad.mllm.weights import check_weights, choose_precision

GIB = 2**30
PLAIN, AMX = {"avx2", "avx512f"}, {"avx2", "amx_bf16", "amx_tile"}


@pytest.fixture
def folder(tmp_path):
    """A checkpoint of a million numbers in bfloat16."""
    save(tmp_path, torch.bfloat16)
    return tmp_path


def save(folder, kind, **config):
    tensors = {"a": torch.zeros(1000, 999, dtype=kind), "b": torch.zeros(1000, dtype=kind)}
    safetensors.torch.save_file(tensors, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize(
    ("flags", "free", "dtype", "words"),
    [
        (AMX, 64 * GIB, "bfloat16", "this CPU has amx_bf16"),
        (PLAIN, 64 * GIB, "float32", "no instructions for bfloat16; float32 takes 2.0 GiB, 64.0"),
        (PLAIN, GIB, "bfloat16", "though slow on this CPU: float32 takes 2.0 GiB, 1.0 GiB are"),
        (None, 64 * GIB, "bfloat16", "not known"),
        (PLAIN, None, "bfloat16", "not known"),
    ],
)
def test_auto_on_a_cpu(folder, flags, free, dtype, words):
    found = choose_precision(folder, "auto", "cpu", flags, free)
    assert found.dtype == dtype
    assert words in found.reason


def test_the_room_is_for_twice_the_weights_and_what_is_computed(folder):
    needed = 4 * 1_000_000 + 2 * GIB
    assert choose_precision(folder, "auto", "cpu", PLAIN, needed).dtype == "float32"
    assert choose_precision(folder, "auto", "cpu", PLAIN, needed - 1).dtype == "bfloat16"


def test_where_nothing_is_to_be_chosen(folder):
    assert choose_precision(folder, "bfloat16", "cpu", PLAIN, 64 * GIB) == ("bfloat16", "")
    assert choose_precision(folder, "auto", "cuda", PLAIN, 64 * GIB) == ("auto", "")
    save(folder, torch.float32)
    assert choose_precision(folder, "auto", "cpu", PLAIN, 64 * GIB) == ("auto", "")


@pytest.mark.parametrize("key", ["dtype", "torch_dtype"])
def test_the_config_says_what_auto_is(folder, key):
    """As in transformers: float32 weights of a bfloat16 model are loaded as bfloat16."""
    save(folder, torch.float32, **{key: "bfloat16"})
    assert choose_precision(folder, "auto", "cpu", AMX, 64 * GIB).dtype == "bfloat16"
    assert choose_precision(folder, "auto", "cpu", PLAIN, 64 * GIB).dtype == "float32"


def test_float16_has_flags_of_its_own(folder):
    save(folder, torch.float16)
    assert choose_precision(folder, "auto", "cpu", AMX, 64 * GIB).dtype == "float32"
    assert choose_precision(folder, "auto", "cpu", {"avx512_fp16"}, 64 * GIB).dtype == "float16"


def test_mixed_weights_need_a_format(folder):
    safetensors.torch.save_file({"c": torch.zeros(3)}, folder / "other.safetensors")
    with pytest.raises(ModelError, match=r"mix BF16 and F32.*model\.dtype"):
        check_weights(folder, "auto")
    check_weights(folder, "float32")


@pytest.mark.parametrize("kind", ["float64", "float32", "float16"])
def test_mixed_weights_are_counted_in_numbers(folder, kind):
    """The room for float32 does not depend on the formats on disk; whole numbers do not count."""
    tensors = {"c": torch.zeros(1000, dtype=getattr(torch, kind)), "ids": torch.arange(9)}
    safetensors.torch.save_file(tensors, folder / "other.safetensors")
    (folder / "config.json").write_text('{"dtype": "bfloat16"}')
    needed = 4 * 1_001_000 + 2 * GIB
    assert choose_precision(folder, "auto", "cpu", PLAIN, needed).dtype == "float32"
    assert choose_precision(folder, "auto", "cpu", PLAIN, needed - 1).dtype == "bfloat16"


def test_where_and_why_in_words():
    info = SimpleNamespace(dtype="float32", device="cpu", dtype_reason="no flags")
    assert weights.computes(info) == "float32 on cpu (no flags)"
    info.dtype_reason = ""
    assert weights.computes(info) == "float32 on cpu"


def test_this_machine_is_asked():
    flags, free = weights.cpu_flags(), weights.free_memory()
    assert (flags is not None and len(flags) > 5) or not Path("/proc/cpuinfo").exists()
    assert free is None or 2**20 < free < 2**50


@pytest.mark.parametrize(
    ("limit", "free"), [("5000000000", 5 * 10**9 - 2 * 10**9 + 10**9), ("max", None)]
)
def test_a_control_group_limits_the_memory(monkeypatch, tmp_path, limit, free):
    """Cached files count as free."""
    files = {
        "/proc/meminfo": "MemTotal: 99999999 kB\nMemAvailable: 90000000 kB\n",
        "/proc/self/cgroup": "0::/job/step\n",
        "/sys/fs/cgroup/job/memory.max": limit + "\n",
        "/sys/fs/cgroup/job/memory.current": "2000000000\n",
        "/sys/fs/cgroup/job/memory.stat": "active_file 400000000\ninactive_file 600000000\n",
    }
    real = weights.Path

    class Fake(type(real())):
        def read_text(self, *arguments, **more):
            if str(self) not in files:
                raise FileNotFoundError(str(self))
            return files[str(self)]

    monkeypatch.setattr(weights, "Path", Fake)
    assert weights.free_memory() == (free or 90000000 * 1024)
    first = "/sys/fs/cgroup/memory/job/memory."  # version 1 of control groups
    files["/proc/self/cgroup"] = "7:cpu:/job\n6:memory:/job/step\n"
    for old, new in (("max", "limit_in_bytes"), ("current", "usage_in_bytes"), ("stat", "stat")):
        files[first + new] = files.pop(f"/sys/fs/cgroup/job/memory.{old}")
    assert weights.free_memory() == (free or 90000000 * 1024)
