"""Full disks, limits on files and folders that cannot be written: one line, and a rerun repairs."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from campaign import Tally
from study import Study, make_study


@pytest.fixture
def small_disk(tmp_path: Path):
    """Mount a tmpfs of some MiB on a folder; gives the function that resizes or seals it."""
    mounted: list[Path] = []

    def mount(folder: Path, options: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        if folder not in mounted:
            words = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
            done = subprocess.run(words, capture_output=True, text=True, check=False)
            if done.returncode:
                pytest.skip(f"a tmpfs cannot be mounted here: {done.stderr.strip()}")
            mounted.append(folder)
        else:
            words = ["mount", "-o", f"remount,{options}", str(folder)]
            subprocess.run(words, check=True)

    if os.getuid() != 0 or shutil.which("mount") is None:
        pytest.skip("a small tmpfs can be mounted by root only")
    yield mount
    for folder in mounted:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def quota(tmp_path: Path):
    """A folder with a real quota, which can be lifted: a subvolume of a small btrfs."""
    if os.getuid() != 0 or shutil.which("mkfs.btrfs") is None:
        pytest.skip("a file system with quotas needs root and mkfs.btrfs")
    image, disk = tmp_path / "image", tmp_path / "disk"
    image.touch()
    os.truncate(image, 400 * 2**20)
    disk.mkdir()
    subprocess.run(["mkfs.btrfs", "--quiet", str(image)], check=True, capture_output=True)
    words = ["mount", "-o", "loop", str(image), str(disk)]
    if subprocess.run(words, capture_output=True, check=False).returncode:
        pytest.skip("a btrfs in a file cannot be mounted here")

    def limit(size: str) -> Path:
        words = ["btrfs", "qgroup", "limit", size, str(disk / "study")]
        subprocess.run(words, check=True, capture_output=True)
        return disk / "study"

    try:
        for words in (["subvolume", "create", str(disk / "study")], ["quota", "enable", str(disk)]):
            subprocess.run(["btrfs", *words], check=True, capture_output=True)
        yield limit
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


def logged_errors(study: Study) -> list[str]:
    """Last lines of the logs of jobs that failed."""
    logs = (path.read_text().strip() for path in (study.folder / "logs").rglob("*.log"))
    return [text.splitlines()[-1] for text in logs if "hhvad: error: " in text]


@pytest.mark.parametrize(
    ("folder", "size"),
    [
        ("results/demo/frames", "300k"),
        ("results/demo/heads", "300k"),
        ("results/demo/figures", "100k"),
    ],
)
def test_a_full_disk(finished: Study, tmp_path, small_disk, folder, size, long, tally: Tally):
    if folder != "results/demo/heads" and not long:
        pytest.skip("only in `make faults`")
    study = make_study(tmp_path / "full")
    shutil.copytree(finished.folder / "resources", study.folder / "resources")
    small_disk(study.folder / folder, f"size={size}")
    done = study.snakemake()
    assert done.returncode != 0
    assert "Traceback" not in done.stdout
    errors = logged_errors(study)
    assert errors
    for line in errors:
        assert line.startswith("hhvad: error: ")
        assert "No space left on device" in line
        assert folder in line
    small_disk(study.folder / folder, "size=500m")
    done = study.snakemake()
    assert done.returncode == 0, done.stdout
    found, expected = study.results(), finished.results()
    assert {k: v for k, v in found.items() if k in expected} == expected
    assert not [name for name in found if ".hhvad-" in name]
    tally.tried("full disk, repaired by a rerun")


def test_a_read_only_results_folder(finished: Study, small_disk, tmp_path, tally: Tally):
    study = make_study(tmp_path / "sealed")
    shutil.copytree(finished.folder / "resources", study.folder / "resources")
    small_disk(study.folder / "results", "ro,size=500m")
    done = study.snakemake()
    assert done.returncode != 0
    assert "Read-only file system" in done.stdout
    assert "results" in done.stdout
    small_disk(study.folder / "results", "rw,size=500m")
    done = study.snakemake()
    assert done.returncode == 0, done.stdout
    assert study.results() == finished.results()
    tally.tried("read-only results folder, repaired by a rerun")


def test_a_quota(finished: Study, quota, tally: Tally):
    folder = quota("2M")
    name = sorted((finished.folder / "results/demo/frames/video").glob("*/*.h5"))[0].stem
    sample = (
        f"hhvad sample-frames --video {name} --path resources/demo/{name}.mp4"
        f" --probe results/demo/probe/{name}.json --view segments --size 448 448"
        " --frames-per-segment 16 --segment-length 48 --threads 1 --timeout 60"
        f" --out '{folder}/frames.h5'"
    )
    refused = finished.run("bash", "-c", sample)
    assert refused.returncode == 2, refused.stdout
    last = refused.stdout.splitlines()[-1]
    assert last.startswith(f"hhvad: error: {folder}/frames.h5: ")
    assert "Disk quota exceeded" in last
    assert list(folder.iterdir()) == []
    quota("none")
    done = finished.run("bash", "-c", sample)
    assert done.returncode == 0, done.stdout
    tally.tried("quota, repaired by a rerun")


def test_a_limit_on_the_size_of_files(finished: Study, tally: Tally):
    """As a quota does, a limit refuses a write in the middle of a file."""
    video = next((finished.folder / "results/demo/scores/headhunt").glob("*collision.tsv")).stem
    score = (
        f"hhvad score-headhunt --features results/demo/heads/demo/segments/direct/{video}.h5"
        " --scorer results/demo/scorer/headhunt.h5 --out out.tsv"
    )
    sample = (
        f"hhvad sample-frames --video {video} --path resources/demo/{video}.mp4"
        f" --probe results/demo/probe/{video}.json --view segments --size 56 56 --out out.h5"
        " --frames-per-segment 16 --segment-length 48 --threads 1 --timeout 60"
    )
    for out, words, line in (
        ("out.tsv", score, "hhvad: error: out.tsv: cannot be written: File too large"),
        ("out.h5", sample, "hhvad: error: out.h5: cannot be written: File too large"),
    ):
        limited = finished.run("bash", "-c", f"ulimit -f 0; {words}")
        assert limited.returncode == 2, limited.stdout
        assert limited.stdout.splitlines()[-1].startswith(line)
        assert not (finished.folder / out).exists()
        assert not list(finished.folder.glob(".hhvad-*"))
        done = finished.run("bash", "-c", words)
        assert done.returncode == 0, done.stdout
        tally.tried("limit on the size of files")


def test_removed_files_are_made_again_where_they_are_needed(finished: Study, tally: Tally):
    """What nothing that is left to do reads may stay away, as Snakemake has it."""
    before = finished.results()
    for pattern in ("heads/**/segments/**/*.h5", "scorer/*.h5", "probe/*.json", "scores/**/*.tsv"):
        path = sorted((finished.folder / "results/demo").glob(pattern))[0]
        path.unlink()
        done = finished.snakemake()
        assert done.returncode == 0, done.stdout
        found = finished.results()
        if path.suffix == ".tsv":
            assert path.exists()
        assert found.items() <= before.items()
        tally.tried("file removed")
    # With all that is made from it gone too, it is needed.
    for path in (finished.folder / "results/demo").rglob("*"):
        if path.is_file() and "frames" not in path.parts and "heads/demo/video" not in str(path):
            path.unlink()
    done = finished.snakemake()
    assert done.returncode == 0, done.stdout
    found = finished.results()
    assert found.items() <= before.items()
    # The captures are there, so nobody asks for what they were made from.
    assert all(name.startswith(("probe/", "annotations/")) for name in before.keys() - found.keys())
