"""HDF5 artifacts: exact round trips, same bytes, and refusal of what does not belong."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra import numpy as hnp

from hhvad.artifacts import hdf5 as artifacts
from hhvad.errors import ArtifactError

PROVENANCE = {"model": "m", "prompt_text": "Was ist los? 何", "view": "segments"}


def features(tmp_path, name="f.h5", array=None, **provenance):
    array = (
        np.arange(2 * 3 * 4 * 5, dtype=np.float32).reshape(2, 3, 4, 5) if array is None else array
    )
    path = tmp_path / name
    segments = np.array([[0, 48], [48, 60]], dtype=np.int64)
    content = {"features": array, "segments": segments}
    artifacts.write(path, "features", content, {**PROVENANCE, **provenance})
    return path


@settings(max_examples=25, deadline=None, derandomize=True)
@given(hnp.arrays(np.float32, hnp.array_shapes(min_dims=1, max_dims=4, max_side=6)))
def test_arrays_survive_bit_by_bit(tmp_path_factory, array):
    path = tmp_path_factory.mktemp("a") / "x.h5"
    artifacts.write(path, "saliency", {"x": array}, {})
    read = artifacts.read(path, "saliency")["x"]
    assert read.dtype == array.dtype
    assert read.tobytes() == array.tobytes()


def test_bfloat16_values_survive_in_float32(tmp_path):
    bits = np.random.default_rng(0).integers(0, 2**16, (2, 3, 4, 5), dtype=np.uint32) << 16
    array = bits.view(np.float32)
    path = features(tmp_path, array=array)
    assert artifacts.read(path, "features")["features"].tobytes() == array.tobytes()


def test_same_content_same_bytes_and_no_paths(tmp_path):
    (tmp_path / "sub").mkdir()
    one, two = features(tmp_path, "a.h5"), features(tmp_path / "sub", "b.h5")
    assert one.read_bytes() == two.read_bytes()
    assert str(tmp_path).encode() not in one.read_bytes()


def test_provenance_says_what_it_was_made_from(tmp_path):
    artifact = artifacts.read(features(tmp_path), "features")
    assert {**artifact.provenance, "hhvad": None} == {**PROVENANCE, "hhvad": None}


def test_another_schema_is_refused(tmp_path):
    with pytest.raises(ArtifactError, match=r"f\.h5: schema is 'features' version 2, expected 'sc"):
        artifacts.read(features(tmp_path), "scorer")


def test_another_schema_version_is_refused(tmp_path):
    path = features(tmp_path)
    with h5py.File(path, "a") as file:
        file.attrs["schema_version"] = 0
    artifacts.seal(path)
    with pytest.raises(ArtifactError, match="version 0"):
        artifacts.read(path, "features")


def test_an_absent_a_truncated_and_a_text_file(tmp_path):
    with pytest.raises(ArtifactError, match="no such file"):
        artifacts.read(tmp_path / "none.h5", "features")
    path = features(tmp_path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ArtifactError, match=r"f\.h5: is cut off, or no artifact"):
        artifacts.read(path, "features")
    path.write_text("hello")
    with pytest.raises(ArtifactError, match=r"f\.h5: is cut off, or no artifact"):
        artifacts.read(path, "features")
    artifacts.seal(path)
    with pytest.raises(ArtifactError, match=r"f\.h5: cannot be read .* as HDF5"):
        artifacts.read(path, "features")


def test_a_disk_that_is_full_at_any_point_is_an_error_and_no_crash(tmp_path):
    """HDF5 crashes the process after a failed close: in a process of its own."""
    program = (
        "import resource, sys\n"
        "import numpy\n"
        "from hhvad import errors\n"
        "from hhvad.artifacts import hdf5 as artifacts\n"
        "array = numpy.random.default_rng(0).bytes(100_000)\n"
        "array = numpy.frombuffer(array, numpy.uint8).reshape(100, 10, 100)\n"
        "hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]\n"
        "for limit in [0, 1, 95, 96, 97, *range(200, 100_000, 3331)]:\n"
        "    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))\n"
        "    try:\n"
        "        artifacts.write(sys.argv[1], 'frames', {'frames': array, 'more': array}, {})\n"
        "    except errors.ArtifactError as error:\n"
        "        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))\n"
        "        print(error)\n"
    )
    path = tmp_path / "f.h5"
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [f"{path}: cannot be written: File too large"] * 35
    assert list(tmp_path.iterdir()) == []


def test_a_flipped_bit_in_the_data_is_noticed(tmp_path):
    array = np.random.default_rng(0).normal(size=(2, 3, 4, 50)).astype(np.float32)
    path = features(tmp_path, array=array)
    with h5py.File(path) as file:
        chunk = file["features"].id.get_chunk_info(1)
    content = bytearray(path.read_bytes())
    content[chunk.byte_offset + chunk.size // 2] ^= 16
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match=r"f\.h5: is damaged, its checksum does not fit"):
        artifacts.read(path, "features")


def test_a_changed_provenance_is_noticed(tmp_path):
    path = features(tmp_path)
    content = path.read_bytes().replace(b'"view": "segments"', b'"view": "segmentz"')
    path.write_bytes(content)
    artifacts.seal(path)
    with pytest.raises(ArtifactError, match="provenance is damaged"):
        artifacts.read(path, "features")


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = features(tmp_path)
    before = path.read_bytes()
    with pytest.raises(ZeroDivisionError), artifacts.create(path, "features", {}) as (file, _):
        artifacts.add_dataset(file, "features", np.zeros((1, 1, 1, 1)))
        raise ZeroDivisionError
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_mix_is_refused_by_both_files_and_both_values(tmp_path):
    one = artifacts.read(features(tmp_path, "a.h5"), "features")
    two = artifacts.read(features(tmp_path, "b.h5", model="n"), "features")
    with pytest.raises(ArtifactError, match=r"b\.h5: model is 'n', but .*a\.h5 has 'm'"):
        artifacts.require_same([one, two], ("view", "model"))
    artifacts.require_same([one, two], ("view",))


def test_only_the_wanted_heads(tmp_path):
    heads = np.array([[2, 1], [0, 3]])
    picked = artifacts.head_features(features(tmp_path), heads)["features"]
    whole = np.arange(120, dtype=np.float32).reshape(2, 3, 4, 5)
    np.testing.assert_array_equal(picked, np.stack([whole[:, 2, 1], whole[:, 0, 3]], axis=1))


def test_a_file_of_some_heads(tmp_path):
    heads = np.array([[2, 1], [0, 3]])
    array = np.arange(20, dtype=np.float32).reshape(2, 2, 5)
    path = tmp_path / "s.h5"
    segments = np.array([[0, 48], [48, 60]])
    content = {"features": array, "heads": heads, "segments": segments}
    artifacts.write(path, "features", content, PROVENANCE)
    picked = artifacts.head_features(path, heads[::-1])["features"]
    np.testing.assert_array_equal(picked, array[:, ::-1])
    with pytest.raises(ArtifactError, match=r"head \(1, 1\) was not captured"):
        artifacts.head_features(path, np.array([[1, 1]]))


def test_heads_outside_and_heads_that_are_not_finite(tmp_path):
    with pytest.raises(ArtifactError, match=r"head \(3, 0\) is outside its 3 x 4"):
        artifacts.head_features(features(tmp_path), np.array([[3, 0]]))
    array = np.zeros((2, 3, 4, 5), np.float32)
    array[1, 2, 1, 0] = np.nan
    path = features(tmp_path, array=array)
    with pytest.raises(ArtifactError, match=r"head \(2, 1\) holds NaN"):
        artifacts.head_features(path, np.array([[0, 0], [2, 1]]))
    artifacts.head_features(path, np.array([[0, 0]]))


def test_a_file_system_without_locks_is_read(tmp_path):
    """NFS without lockd, some Lustre and FUSE mounts: flock fails there."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler: flock cannot be made to fail")
    source, shim = tmp_path / "shim.c", tmp_path / "shim.so"
    source.write_text(
        "#include <errno.h>\n"
        "int flock(int f, int o) { (void)f; (void)o; errno = ENOLCK; return -1; }\n"
    )
    subprocess.run([compiler, "-shared", "-fPIC", "-o", shim, source], check=True)
    program = (
        "import fcntl, sys, numpy\n"
        "from hhvad.artifacts import hdf5\n"
        "try:\n"
        "    fcntl.flock(sys.stdin, fcntl.LOCK_SH)\n"
        "    sys.exit('flock works: the test shows nothing')\n"
        "except OSError:\n"
        "    pass\n"
        "array = numpy.arange(6.0).reshape(2, 3)\n"
        "hdf5.write(sys.argv[1], 'saliency', {'saliency': array}, {})\n"
        "assert (hdf5.read(sys.argv[1], 'saliency')['saliency'] == array).all()\n"
    )
    environment = {**os.environ, "LD_PRELOAD": str(shim)}
    environment.pop("HDF5_USE_FILE_LOCKING", None)
    done = subprocess.run(
        [sys.executable, "-c", program, tmp_path / "a.h5"],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
