"""Which checkpoint is meant, and which of its changes are seen."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from hhvad import checkpoint
from hhvad.errors import ModelError

LIMIT = 64 * 2**20  # bytes: larger safetensors files are sampled


def write_weights(path: Path, sizes: dict[str, int]) -> dict[str, int]:
    """A sparse safetensors file of zeros; returns the first byte of every tensor (U8, bytes)."""
    header, end = {}, 0
    for name, size in sizes.items():
        header[name] = {"dtype": "U8", "shape": [size], "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + end)
    return {name: 8 + len(text) + entry["data_offsets"][0] for name, entry in header.items()}


def write_at(path: Path, place: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(place)
        file.write(data)


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "internvl"}')
    return folder


def changes(folder: Path, path: Path, place: int, data: bytes) -> bool:
    """Whether the stamp changes with the bytes at `place`, and comes back with the old ones."""
    with path.open("rb") as file:
        file.seek(place)
        old = file.read(len(data))
    before = checkpoint.stamp(str(folder))
    write_at(path, place, data)
    after = checkpoint.stamp(str(folder))
    write_at(path, place, old)
    assert checkpoint.stamp(str(folder)) == before
    return after != before


# Which checkpoint


def test_a_folder_a_hub_id_or_nothing(folder, tmp_path, monkeypatch):
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    assert checkpoint.resolve(str(folder)) == str(folder)
    assert checkpoint.resolve("OpenGVLab/InternVL3-2B-hf") == "OpenGVLab/InternVL3-2B-hf"
    assert checkpoint.is_folder(str(folder))
    assert not checkpoint.is_folder("OpenGVLab/InternVL3-2B-hf")
    for wrong in ("model", "/nowhere/model", "a/b/c", "a/b c", "../x"):
        assert not checkpoint.is_folder(wrong)
        with pytest.raises(ModelError, match="no such checkpoint folder"):
            checkpoint.resolve(wrong)


@pytest.mark.parametrize(
    ("name", "part"), [("demo", "model"), ("demo-clip", "clip"), ("demo-llm", "llm")]
)
def test_demo_models_are_folders_of_the_package(name, part, tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "__file__", str(tmp_path / "checkpoint.py"))
    assert checkpoint.is_folder(name)
    with pytest.raises(ModelError, match=f"'{name}', but this installation lacks it"):
        checkpoint.resolve(name)
    place = tmp_path / "demo" / part
    place.mkdir(parents=True)
    (place / "config.json").write_text("{}")
    assert checkpoint.resolve(name) == str(place)


# When it counts as changed


def test_a_hub_id_is_its_own_stamp():
    assert checkpoint.stamp("owner/name") == "owner/name"


@pytest.mark.parametrize("name", ["a.json", "a.jinja", "a.txt", "tokenizer.model", "a.safetensors"])
def test_every_byte_of_a_small_file_counts(folder, name):
    (folder / name).write_bytes(bytes(10_000))
    for place in (0, 1234, 9_999):
        assert changes(folder, folder / name, place, b"x")


@pytest.mark.parametrize("name", ["README.md", "training.json", "model.bin"])
def test_files_that_are_not_loaded_do_not_count(folder, name):
    before = checkpoint.stamp(str(folder))
    (folder / name).write_text("x")
    (folder / "folder.json").mkdir()
    assert checkpoint.stamp(str(folder)) == before


def test_names_and_sizes_count_place_and_date_do_not(folder, tmp_path):
    before = checkpoint.stamp(str(folder))
    assert len(before) == 16
    copy = shutil.copytree(folder, tmp_path / "copy")
    os.utime(copy / "config.json", (0, 0))
    assert checkpoint.stamp(str(copy)) == before
    (copy / "config.json").rename(copy / "other.json")
    assert checkpoint.stamp(str(copy)) != before
    (folder / "empty.json").touch()
    assert checkpoint.stamp(str(folder)) != before


def test_up_to_64_mib_every_byte_of_the_weights_counts(folder):
    path = folder / "model.safetensors"
    path.touch()
    os.truncate(path, LIMIT)  # no header: it is not parsed
    assert changes(folder, path, LIMIT // 3, b"x")
    os.truncate(path, LIMIT + 1)  # the first 8 bytes tell an empty header
    with pytest.raises(ModelError, match=r"model\.safetensors: not a safetensors file"):
        checkpoint.stamp(str(folder))


@pytest.mark.parametrize("part", ["first", "small", "last"])
def test_a_changed_tensor_of_large_weights_shows(folder, part):
    path = folder / "model.safetensors"
    sizes = {"first": LIMIT, "empty": 0, "small": 2_560, "last": LIMIT + 7}
    starts = write_weights(path, sizes)
    start, size = starts[part], sizes[part]
    for place in (start, start + size // 2, start + size - 1):
        assert changes(folder, path, place, b"x")
    # Fine-tuning changes a value here and there of the whole tensor.
    assert changes(folder, path, start, b"\0\0\0x" * (size // 4))


@pytest.mark.parametrize("size", [1, 511, 512, 513, 2_559, 2_560])
def test_every_byte_of_a_small_tensor_of_large_weights_counts(folder, size):
    path = folder / "model.safetensors"
    starts = write_weights(path, {"large": LIMIT, "small": size})
    for place in {0, size // 2, size - 1, min(512, size - 1), min(511, size - 1)}:
        assert changes(folder, path, starts["small"] + place, b"x")


@pytest.mark.parametrize("shard", range(3))
def test_a_changed_shard_shows(folder, shard):
    paths = [folder / f"model-{i:05}-of-00003.safetensors" for i in range(3)]
    starts = [write_weights(path, {"a": LIMIT, "b": LIMIT}) for path in paths]
    assert changes(folder, paths[shard], starts[shard]["b"], bytes([1]) * LIMIT)


def test_the_header_of_large_weights_counts(folder):
    path = folder / "model.safetensors"
    write_weights(path, {"a": LIMIT, "b": 64})
    before = checkpoint.stamp(str(folder))
    write_weights(path, {"a": LIMIT, "c": 64})
    assert checkpoint.stamp(str(folder)) != before


@pytest.mark.parametrize(
    "start",
    [
        b"\xff" * 8,
        (2).to_bytes(8, "little") + b"[]",
        (8).to_bytes(8, "little") + b'{"a": 1}',
        (9).to_bytes(8, "little") + b'{"a": {}}',
        (3).to_bytes(8, "little") + b'{"a',
    ],
)
def test_large_weights_with_a_damaged_header_are_refused(folder, start):
    path = folder / "model.safetensors"
    path.write_bytes(start)
    os.truncate(path, LIMIT + 100)
    with pytest.raises(ModelError, match=r"not a safetensors file .* download it again"):
        checkpoint.stamp(str(folder))


COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub:
    """What the hub says of a revision; counts how often it is asked."""

    def __init__(self, monkeypatch, commit=COMMIT):
        self.asked = []
        self.commit = commit
        monkeypatch.setattr("huggingface_hub.HfApi", lambda: self)
        monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", self.cached)
        self.cache = None

    def model_info(self, model, revision=None):
        self.asked.append((model, revision))
        if self.commit is None:
            raise OSError("no network")
        return SimpleNamespace(sha=self.commit)

    def cached(self, model, file, revision=None):
        return self.cache


def test_a_hub_id_is_looked_up_once(monkeypatch, tmp_path):
    hub, file = Hub(monkeypatch), tmp_path / "models/m.commit"
    assert checkpoint.pinned("owner/name", None, file) == COMMIT
    hub.commit = "f" * 40  # main moves on
    assert checkpoint.pinned("owner/name", None, file) == COMMIT
    assert hub.asked == [("owner/name", None)]
    file.unlink()
    assert checkpoint.pinned("owner/name", None, file) == "f" * 40


def test_what_needs_no_hub(monkeypatch, tmp_path, folder):
    hub, file = Hub(monkeypatch), tmp_path / "m.commit"
    assert checkpoint.pinned("owner/name", COMMIT, file) == COMMIT
    assert checkpoint.pinned(str(folder), None, file) is None
    assert checkpoint.pinned("demo", None, file) is None
    assert not hub.asked
    assert not file.exists()


def test_without_network_the_cache_knows_the_commit(monkeypatch, tmp_path):
    hub, file = Hub(monkeypatch, commit=None), tmp_path / "m.commit"
    with pytest.raises(ModelError, match=r"owner/name.*revision v1.*no network"):
        checkpoint.pinned("owner/name", "v1", file)
    assert not file.exists()
    hub.cache = f"/cache/snapshots/{COMMIT}/config.json"
    assert checkpoint.pinned("owner/name", "v1", file) == COMMIT


def test_a_file_of_another_revision_is_refused(monkeypatch, tmp_path):
    Hub(monkeypatch)
    file = tmp_path / "m.commit"
    checkpoint.pinned("owner/name", None, file)
    for model, revision in (("owner/name", "v1"), ("owner/other", None)):
        with pytest.raises(ModelError, match=r"m\.commit holds .*delete the file"):
            checkpoint.pinned(model, revision, file)
    file.write_text("owner/name main whatever\n")
    with pytest.raises(ModelError, match="whatever"):
        checkpoint.pinned("owner/name", None, file)


def test_weights_of_the_limit_are_read_whole(folder):
    """Between the samples a change shows only up to the limit of 64 MiB."""
    path = folder / "model.safetensors"
    for size, whole in ((LIMIT, True), (LIMIT + 1, False)):
        content = {"a": {"dtype": "U8", "shape": [1], "data_offsets": [0, size]}}
        header = json.dumps(content).encode()
        path.write_bytes(len(header).to_bytes(8, "little") + header)
        os.truncate(path, size)
        before = checkpoint.stamp(str(folder))
        with path.open("rb+") as file:
            file.seek(LIMIT // 8 + 4096)  # far from a sample: they are at quarters
            file.write(b"x")
        assert (checkpoint.stamp(str(folder)) != before) is whole
