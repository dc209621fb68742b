"""Atomic writes, JSON and TSV."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from hhvad import files
from hhvad.errors import ArtifactError


def test_a_file_appears_whole_or_not_at_all(tmp_path):
    path = tmp_path / "a" / "x.txt"
    with pytest.raises(RuntimeError), files.atomic_path(path) as partial:
        partial.write_text("half")
        raise RuntimeError
    assert list(path.parent.iterdir()) == []
    files.write_text(path, "whole")
    assert path.read_text() == "whole"
    assert [p.name for p in path.parent.iterdir()] == ["x.txt"]


def test_what_a_killed_job_left_goes_with_the_next_write(tmp_path):
    path = tmp_path / "x.h5"
    code = (
        "import os, sys; from hhvad.files import atomic_path\n"
        "with atomic_path(sys.argv[1]) as partial: os.kill(os.getpid(), 9)"
    )
    for name in (path, tmp_path / "y.h5"):
        killed = subprocess.run([sys.executable, "-c", code, str(name)], check=False)
        assert killed.returncode == -9
    assert len(list(tmp_path.iterdir())) == 2
    with files.atomic_path(path) as partial:
        with files.atomic_path(path) as other:  # of a process that lives
            other.write_text("")
        assert partial.exists()
    left = [p.name for p in tmp_path.iterdir() if p != path]
    assert len(left) == 1  # another file's
    abroad = re.sub(r"-[0-9a-f]{8}-", "-01234567-", left[0])
    (tmp_path / left[0]).rename(tmp_path / abroad)
    files.write_text(tmp_path / "y.h5", "")
    assert (tmp_path / abroad).exists()
    os.utime(tmp_path / abroad, (0, 0))
    files.write_text(tmp_path / "y.h5", "")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["x.h5", "y.h5"]
    deep = tmp_path / "deep" / "z.h5"
    subprocess.run([sys.executable, "-c", code, str(deep)], check=False)
    with files.atomic_path(deep) as partial:
        files.sweep_folder(tmp_path)
        assert list(deep.parent.iterdir()) == [partial]


def test_permissions_follow_the_umask(tmp_path):
    old = os.umask(0o027)
    try:
        files.write_text(tmp_path / "x", "")
    finally:
        os.umask(old)
    assert (tmp_path / "x").stat().st_mode & 0o777 == 0o640


def test_a_folder_that_is_a_file(tmp_path):
    (tmp_path / "x").write_text("")
    with pytest.raises(ArtifactError, match=r"x/y\.txt: cannot be written"):
        files.write_text(tmp_path / "x" / "y.txt", "")


def test_tables_round_trip_exactly(tmp_path):
    path = tmp_path / "t.tsv"
    files.write_tsv(path, ("a", "b"), [(0.1 + 0.2, "x\ty"), (1e-300, None)])
    rows = files.read_tsv(path, ("a", "b"))
    assert [float(row["a"]) for row in rows] == [0.1 + 0.2, 1e-300]
    assert [row["b"] for row in rows] == ["x\ty", ""]


def test_bad_tables_are_named(tmp_path):
    path = tmp_path / "t.tsv"
    path.write_text("a\tb\n1\n")
    with pytest.raises(ArtifactError, match=r"t\.tsv: line 2 has not 2 columns"):
        files.read_tsv(path)
    with pytest.raises(ArtifactError, match="column 'c' is absent"):
        files.read_tsv(path, ("c",))


def test_json_without_nan(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        files.write_json(tmp_path / "x.json", {"a": float("nan")})
    (tmp_path / "y.json").write_text("{\n,")
    with pytest.raises(ArtifactError, match=r"y\.json: not JSON \(line 2"):
        files.read_json(tmp_path / "y.json")


def test_a_digest_depends_on_content_alone():
    assert files.digest({"a": 1, "b": (2,)}) == files.digest({"b": [2], "a": 1})
    assert files.digest({"a": 1}) != files.digest({"a": 2})
