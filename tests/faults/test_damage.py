"""Files that change under us: bits, cuts, zeros, in every kind of artifact and table."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from study import Study

FLIP = Path(__file__).with_name("flip.py")


def commands(folder: Path) -> dict[str, tuple[str, str, list[str]]]:
    """By name: the file that is damaged, the file that is made, the words of the command."""
    video = next(folder.glob("results/demo/scores/headhunt/*collision.tsv")).stem
    features = f"results/demo/heads/demo/segments/direct/{video}.h5"
    score = [
        "score-headhunt", "--features", features, "--scorer", "results/demo/scorer/headhunt.h5",
        "--out", "out.tsv",
    ]  # fmt: skip
    unpack = [
        "unpack-locator", "--detector", "results/demo/detector/headhunt.h5", "--out", "out.json",
    ]  # fmt: skip
    return {
        "features": (features, "out.tsv", score),
        "scorer": ("results/demo/scorer/headhunt.h5", "out.tsv", score),
        "detector": ("results/demo/detector/headhunt.h5", "out.json", unpack),
    }


@pytest.mark.parametrize("how", ["bit", "cut", "zero"])
@pytest.mark.parametrize("kind", ["features", "scorer", "detector"])
def test_damage_is_named_or_harmless(finished: Study, kind: str, how: str, long, tally):
    """HDF5 artifacts: never another number. A damaged byte that nobody reads may go unseen."""
    file, out, words = commands(finished.folder)[kind]
    count = {"bit": 400, "cut": 60, "zero": 100}[how] if long else 30
    done = subprocess.run(
        [sys.executable, str(FLIP), "7", str(count), how, file, out, "--", *words],
        cwd=finished.folder, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, (done.returncode, lines[-1:], done.stderr[-2000:])
    tries = [line for line in lines if "code" in line]
    assert len(tries) == count
    for line in tries:
        if not line["same"]:
            assert line["code"] == 2, line
            assert line["nothing"], line
            assert len(line["error"].strip().splitlines()) == 1, line
            assert Path(file).name in line["error"], line
    assert any(not line["same"] for line in tries)
    tally.tried(f"damaged {kind}: {how}", count)
