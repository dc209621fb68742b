"""Bad input fails its own job by name; every other video gets its results; nothing is invented."""

from __future__ import annotations

import pytest
from conftest import Study

BAD = {
    "empty": b"",
    "text": b"this is not a video\n" * 50,
}


def test_bad_videos_fail_alone_and_are_listed(finished: Study):
    good = next(r for r in finished.rows if r["split"] == "test")
    whole = (finished.folder / good["path"]).read_bytes()
    files = {**BAD, "truncated": whole[: len(whole) // 2]}
    folder = finished.folder / "videos"
    folder.mkdir()
    rows = finished.rows
    for name, content in files.items():
        (folder / f"{name}.mp4").write_bytes(content)
    for name in (*files, "missing"):
        path = f"videos/{name}.mp4"
        rows.append({**good, "video": name, "path": path, "label": "", "events": ""})
    new = {**good, "video": "again"}
    rows.append(new)
    finished.write_rows(rows)

    done = finished.snakemake("--keep-going")

    assert done.returncode == 1
    summary = done.stdout[done.stdout.index("failed; nothing was invented") :]
    results = finished.folder / "results"
    for name in (*files, "missing"):
        (line,) = [line for line in summary.splitlines() if f"/{name}:" in line]
        assert f"videos/{name}.mp4" in line
        assert not list(results.rglob(f"{name}.*"))
    assert "Traceback" not in done.stdout
    assert (results / "events/demo/again.tsv").is_file()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sampling": {"frame": 3}}, "'sampling.frame' is unknown"),
        ({"videos": "config/none.tsv"}, "config/none.tsv: there is no such file"),
        ({"prompts": "config/none.yaml"}, "config/none.yaml: there is no such file"),
        ({"experts": {"count": 0}}, "experts.count"),
    ],
)
def test_a_bad_config_ends_before_anything_runs(new_study: Study, change: dict, message: str):
    new_study.change_config(**change)
    done = new_study.snakemake()
    assert done.returncode == 1
    assert message in done.stdout
    assert "Traceback" not in done.stdout
    assert not (new_study.folder / "results").exists()


def test_check_config_by_hand(new_study: Study):
    from conftest import ROOT

    schemas = str(ROOT / "workflow/schemas")
    command = ("hhvad", "check-config", "--config", "config/config.yaml", "--schemas", schemas)
    done = new_study.run(*command)
    assert done.returncode == 0, done.stdout
    new_study.write_prompts({"online": "a", "prompts": {"a": "Only one?"}})
    done = new_study.run(*command)
    assert done.returncode == 2
    assert done.stdout.startswith("hhvad: error: config/prompts.yaml: prompts has 1 entries")


def test_an_event_past_the_end_is_found_before_the_expensive_steps(finished: Study):
    rows = finished.rows
    row = next(r for r in rows if r["split"] == "test" and r["label"] == "anomaly")
    row["events"] = "5-999999"
    finished.write_rows(rows)
    done = finished.snakemake("results/annotations/test.tsv")
    assert done.returncode == 1
    assert f"video {row['video']}: event 5-999999" in done.stdout
