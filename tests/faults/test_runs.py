"""Runs beside each other, names of files that are commands elsewhere, sheets edited in mid-run."""

from __future__ import annotations

import shutil
import signal
import subprocess
import time

import pytest
from campaign import Tally
from study import Study, make_study

NAMES = (
    "a b.mp4", "it's.mp4", 'say "x".mp4', "$(touch pwned).mp4", "`touch pwned`.mp4",
    "; touch pwned;.mp4", "-rf.mp4", "--help.mp4", "été漢字🎥.mp4",
    "%s%n.mp4", "a\\b.mp4", "*.mp4", "&amp;.mp4",
)  # fmt: skip


def test_names_of_files_are_only_names(finished: Study, long: bool, tally: Tally):
    """Each as a new test video: the same scores as under its plain name, and no command run."""
    plain = finished.rows[-1]
    source = finished.folder / plain["path"]
    names = NAMES if long else NAMES[::3]
    rows = finished.rows
    for number, name in enumerate(names):
        path = finished.folder / "named" / name.replace("/", "\u2215")
        path.parent.mkdir(exist_ok=True)
        shutil.copy(source, path)
        where = f"named/{path.name}"
        rows.append({**plain, "video": f"named-{number}", "path": where, "events": "", "label": ""})
    finished.write_rows(rows)
    done = finished.snakemake()
    assert done.returncode == 0, done.stdout
    known = (finished.folder / f"results/demo/scores/headhunt/{plain['video']}.tsv").read_text()
    for number, _ in enumerate(names):
        found = finished.folder / f"results/demo/scores/headhunt/named-{number}.tsv"
        assert found.read_text().replace(f"named-{number}", plain["video"]) == known
        tally.tried("name of a file")
    assert not list(finished.folder.rglob("pwned"))


def wait_for_captures(study: Study, run: subprocess.Popen[bytes], count: int) -> None:
    end = time.monotonic() + 120
    while len(list((study.folder / "results/demo/heads").rglob("*.h5"))) < count:
        assert run.poll() is None
        assert time.monotonic() < end
        time.sleep(0.1)


def test_a_second_run_and_an_edit_in_mid_run(finished: Study, tmp_path, tally: Tally):
    """The second run is told of the lock; the edited sheet counts from the next run on."""
    study = make_study(tmp_path / "study")
    shutil.copytree(finished.folder / "resources", study.folder / "resources")
    output = tmp_path / "output.txt"
    first = study.start("--cores", "2", output=output)
    try:
        wait_for_captures(study, first, 3)
        second = study.snakemake()
        assert second.returncode != 0
        assert "cannot be locked" in second.stdout
        assert first.poll() is None
        rows = study.rows
        source = study.folder / rows[-1]["path"]
        shutil.copy(source, study.folder / "late.mp4")
        late = {**rows[-1], "video": "late", "path": "late.mp4", "label": "", "events": ""}
        study.write_rows([*rows, late])
        assert first.wait(timeout=300) == 0, output.read_text()
    finally:
        if first.poll() is None:
            first.send_signal(signal.SIGINT)
            first.wait(timeout=60)
    before, expected = (
        {name: data for name, data in one.results().items() if not name.startswith("viewer/")}
        for one in (study, finished)
    )
    assert before.keys() == expected.keys()
    # Metrics, checks and the viewer read the sheet when they run: they may already know of the late
    # row.
    differing = {name for name in expected if before[name] != expected[name]}
    assert differing <= {"annotations/test.tsv", "metrics/headhunt.json", "metrics/headhunt.tsv"}
    done = study.snakemake()
    assert done.returncode == 0, done.stdout
    assert (study.folder / "results/demo/events/headhunt/late.json").is_file()
    assert study.planned() == {}
    tally.tried("second run in one folder")
    tally.tried("sheet edited in mid-run")


@pytest.mark.parametrize("name", ["../up", "/etc/passwd", "a/../../b", "..", ".hidden", "a\tb"])
def test_ids_that_leave_the_folder(new_study: Study, name: str, tally: Tally):
    rows = new_study.rows
    new_study.write_rows([*rows[:-1], {**rows[-1], "video": name}])
    done = new_study.snakemake("--dry-run")
    assert done.returncode != 0
    assert "videos.tsv" in done.stdout
    assert "Traceback" not in done.stdout
    assert not (new_study.folder / "results").exists()
    tally.tried("id that leaves the folder")
