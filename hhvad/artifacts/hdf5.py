"""The HDF5 files that pass between the steps, and the check that they belong together.

Layout of every file: the root carries `schema` (name), `schema_version` (int), `provenance` (JSON:
what the content was made from) and `provenance_digest`; each dataset is chunked, byte-shuffled and
compressed without loss. Nothing in a file depends on when or where it was written: no times, no
absolute paths. Behind what HDF5 reads stand 20 bytes: `HHVADsum`, and in little-endian order the
number of bytes before them and their CRC-32. They are compared before HDF5 sees the file: on a
damaged one its library may hang or crash.

| schema | datasets |
|---|---|
| frames | frames uint8 [S, F, H, W, 3]; indices int64 [S, F]; segments int64 [S, 2] |
| features | features float32 [S, L, H, D] (all heads) or [S, n, D] and heads [n, 2]; segments |
| saliency | saliency float64 [metrics, L, H] |
| experts | rss float64 [L, H]; experts int64 [K, 2]; mean, spread, normalised [P, L, H]; ... |
| scorer | arrays of the fitted estimator; experts int64 [K, 2] |
| detector | what scorer holds; the locator is in the provenance |
| vectors | vectors float32 [G, D], unit; of frames indices, of texts unique, first and cut |
| | (of kind class as the vision encoder gives them) |
| marks | vectors float64 [M, D], unit; centre and spread [C, D] of cameras' ordinary footage |
| logprobs | logprobs float64 [S, Q, A] of A answers to Q questions; segments int64 [S, 2] |
| variants | heads int64 [M, 2]; of each variant NNNN the arrays of its estimator, NNNN.name |
| thumbnails | pictures uint8 [T, h, w, 3] of square pixels; frames int64 [T]; seconds [T] |

S segments, F frames a segment, L layers, H heads, D head_dim, K experts, P prompts,
T thumbnails.
"""

from __future__ import annotations

import io
import json
import os
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import h5py
import numpy as np
from numpy.typing import NDArray

from hhvad import __version__
from hhvad.errors import ArtifactError
from hhvad.files import atomic_path, digest

# Raise a stage's number when its output changes for the same input: its rule carries the number in
# its params, so that old artifacts count as stale, and readers refuse files of another number.
SCHEMA_VERSIONS: dict[str, int] = {
    "frames": 2,
    "features": 2,
    "saliency": 1,
    "experts": 1,
    "scorer": 1,
    "detector": 1,
    "vectors": 1,
    "thumbnails": 1,
    "marks": 2,
    "variants": 1,
    "logprobs": 1,
}

_MAGIC = b"HHVADsum"
_SEAL = struct.Struct("<8sQI")
_whole: set[tuple[int, int, int, int]] = set()  # files that this process has compared

# A detector is a scorer with a locator: it is read where a scorer is asked for.
_ALSO = {"scorer": ("detector",)}

Provenance = dict[str, Any]


@dataclass(frozen=True)
class Artifact:
    """The content of one HDF5 file: arrays by name, and what they were made from."""

    path: Path
    schema: str
    arrays: dict[str, NDArray[Any]]
    provenance: Provenance

    def __getitem__(self, name: str) -> NDArray[Any]:
        try:
            return self.arrays[name]
        except KeyError:
            raise ArtifactError(
                f"{self.path}: dataset {name!r} is absent; delete the file"
            ) from None


def write(
    path: str | Path, schema: str, arrays: Mapping[str, NDArray[Any]], provenance: Provenance
) -> None:
    """Write an artifact atomically. The package version is added to the provenance."""
    with create(path, schema, provenance) as (file, _):
        for name, array in arrays.items():
            add_dataset(file, name, np.asarray(array))


@contextmanager
def create(
    path: str | Path, schema: str, provenance: Provenance
) -> Iterator[tuple[h5py.File, Callable[[], None]]]:
    """An open HDF5 file with its header, for a writer that streams; renamed at the end.

    Beside it, what to call now and then to learn that the disk is full before the end.
    """
    full = {**provenance, "hhvad": __version__}
    with atomic_path(path) as partial:
        with _Output(partial, "w+") as output:
            try:
                with h5py.File(output, "w") as file:
                    file.attrs["schema"] = schema
                    file.attrs["schema_version"] = SCHEMA_VERSIONS[schema]
                    file.attrs["provenance"] = json.dumps(full, sort_keys=True, ensure_ascii=False)
                    file.attrs["provenance_digest"] = digest(full)
                    yield file, output.check
            finally:
                output.check()
        seal(partial)


class _Output(io.FileIO):
    """A file whose writes seem to succeed after the first that did not.

    HDF5 (2.0) crashes the process when it could not write what it wanted to: it is not told.
    """

    error: OSError | None = None

    def check(self) -> None:
        """Raise OSError where a write failed."""
        if self.error:
            raise self.error

    def write(self, data: Any, /) -> int:
        """All of the data; FileIO may stop halfway, as at the end of a disk."""
        view = memoryview(data).cast("B")
        done = 0
        while done < len(view):
            done += self._try(super().write, view[done:], otherwise=len(view) - done)
        return done

    def truncate(self, size: int | None = None, /) -> int:
        return self._try(super().truncate, size, otherwise=size or 0)

    def _try(self, work: Callable[[Any], int], argument: Any, otherwise: int) -> int:
        if self.error is None:
            try:
                return work(argument)
            except OSError as error:
                self.error = error
        return otherwise


def seal(path: str | Path) -> None:
    """Append length and checksum to a finished file."""
    with Path(path).open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        checksum = _checksum(file, size)
        file.seek(size)
        file.write(_SEAL.pack(_MAGIC, size, checksum))


def _require_whole(path: str | Path) -> None:
    """Raise ArtifactError unless the file is, byte for byte, what was written."""
    with Path(path).open("rb") as file:
        stat = os.fstat(file.fileno())
        state = (stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns)
        if state in _whole:
            return
        size = stat.st_size - _SEAL.size
        file.seek(max(0, size))
        end = file.read()
        if len(end) != _SEAL.size or _SEAL.unpack(end)[0] != _MAGIC:
            raise ArtifactError(
                f"{path}: is cut off, or no artifact of hhvad; delete the file and rerun"
            )
        if _SEAL.unpack(end)[1:] != (size, _checksum(file, size)):
            raise ArtifactError(
                f"{path}: is damaged, its checksum does not fit; delete the file and rerun"
            )
    _whole.add(state)


def _checksum(file: BinaryIO, size: int) -> int:
    """CRC-32 of the first `size` bytes."""
    file.seek(0)
    checksum = 0
    while size > 0:
        block = file.read(min(size, 1 << 22))
        if not block:
            break
        checksum, size = zlib.crc32(block, checksum), size - len(block)
    return checksum


def add_dataset(
    file: h5py.File,
    name: str,
    array: NDArray[Any] | None = None,
    *,
    shape: tuple[int, ...] | None = None,
    dtype: Any = None,
    compress: bool = True,
) -> h5py.Dataset:
    """Add a dataset, chunked along its first axis: filled from `array`, or empty of `shape`."""
    size = array.shape if array is not None else shape
    if size is None:
        raise ValueError("add_dataset needs an array or a shape")
    if not size or 0 in size:  # HDF5 cannot chunk scalars and empty arrays
        return file.create_dataset(name, data=array, shape=size, dtype=dtype)
    return file.create_dataset(
        name,
        data=array,
        shape=size,
        dtype=dtype,
        chunks=(1, *size[1:]) if len(size) > 2 else size,
        compression="gzip" if compress else None,
        compression_opts=1 if compress else None,
        shuffle=compress,
    )


def read(path: str | Path, schema: str, names: tuple[str, ...] | None = None) -> Artifact:
    """Read an artifact whole, or only the datasets `names`.

    Raises ArtifactError where the file is absent, not HDF5, damaged, or of another schema.
    """
    with open_artifact(path, schema) as (file, provenance):
        wanted = sorted(file) if names is None else names
        absent = [name for name in wanted if name not in file]
        if absent:
            raise ArtifactError(f"{path}: dataset {absent[0]!r} is absent; delete the file, rerun")
        arrays = {name: np.asarray(file[name][()]) for name in wanted}
    return Artifact(Path(path), schema, arrays, provenance)


@contextmanager
def open_artifact(path: str | Path, schema: str) -> Iterator[tuple[h5py.File, Provenance]]:
    """An artifact opened for reading piece by piece, with its provenance, header checked."""
    if not Path(path).is_file():
        raise ArtifactError(f"{path}: there is no such file")
    with _refuse(path):
        _require_whole(path)
    # Files appear whole and never change: HDF5's lock protects nothing, and some file systems have
    # none.
    with _refuse(path), h5py.File(path, "r", locking=False) as file:
        found = file.attrs.get("schema"), file.attrs.get("schema_version")
        if found not in [
            (name, SCHEMA_VERSIONS[name]) for name in (schema, *_ALSO.get(schema, ()))
        ]:
            raise ArtifactError(
                f"{path}: schema is {found[0]!r} version {found[1]}, expected {schema!r} version "
                f"{SCHEMA_VERSIONS[schema]}; delete the file and rerun"
            )
        try:
            provenance = json.loads(file.attrs["provenance"])
        except (KeyError, ValueError) as error:
            raise ArtifactError(f"{path}: provenance is damaged; delete the file, rerun") from error
        if digest(provenance) != file.attrs.get("provenance_digest"):
            raise ArtifactError(f"{path}: provenance is damaged; delete the file and rerun")
        yield file, provenance


@contextmanager
def _refuse(path: str | Path) -> Iterator[None]:
    """Turn what h5py raises on a damaged, truncated or unwritable file into an ArtifactError."""
    try:
        yield
    except (OSError, KeyError, RuntimeError, UnicodeDecodeError) as error:
        raise ArtifactError(
            f"{path}: cannot be read or written as HDF5 ({error}); "
            "if it is damaged, delete it and rerun"
        ) from error


def require_same(artifacts: list[Artifact], keys: tuple[str, ...]) -> None:
    """Refuse artifacts whose provenance differs in one of `keys`, naming both files and values."""
    first = artifacts[0]
    for other in artifacts[1:]:
        for key in keys:
            ours, theirs = first.provenance.get(key), other.provenance.get(key)
            if ours != theirs:
                raise ArtifactError(
                    f"{other.path}: {key} is {theirs!r}, but {first.path} has {ours!r}: "
                    "they cannot be used together; delete the older one and rerun"
                )


def head_features(path: str | Path, heads: NDArray[np.int64]) -> Artifact:
    """The features of just `heads` int [K, 2], as dataset `features` float32 [S, K, D].

    Works on files of all heads and on files of a subset. Raises ArtifactError where a head is not
    in the file or a feature that was asked for is not finite.
    """
    with open_artifact(path, "features") as (file, provenance):
        data = file["features"]
        if data.ndim == 4:
            layers, count = data.shape[1:3]
            outside = [h for h in heads.tolist() if h[0] >= layers or h[1] >= count]
            if outside:
                raise ArtifactError(
                    f"{path}: head {tuple(outside[0])} is outside its {layers} x {count} heads"
                )
            picked = data[()][:, heads[:, 0], heads[:, 1]]
        else:
            known = {tuple(head): i for i, head in enumerate(file["heads"][()].tolist())}
            outside = [h for h in heads.tolist() if tuple(h) not in known]
            if outside:
                raise ArtifactError(f"{path}: head {tuple(outside[0])} was not captured into it")
            picked = data[()][:, [known[tuple(head)] for head in heads.tolist()]]
        arrays = {"features": picked, "segments": np.asarray(file["segments"][()])}
    bad = ~np.isfinite(picked).all(axis=(0, 2))
    if bad.any():
        head = tuple(heads[bad][0].tolist())
        raise ArtifactError(f"{path}: head {head} holds NaN or infinite features; capture it again")
    return Artifact(Path(path), "features", arrays, provenance)
