"""A config of one's own beside the demo's in one checkout: nothing is inherited, nothing mixes."""

from __future__ import annotations

import yaml
from study import Study

TRICKY = 'it\'s; $(touch hacked) `touch hacked` "two" & <b> #1'


def own(where: Study, name: str, **keys: object) -> str:
    """A config file of few keys for the videos of the study."""
    path = f"config/{name}.yaml"
    (where.folder / path).write_text(yaml.safe_dump({"videos": "config/videos.tsv", **keys}))
    return path


def test_nothing_of_the_demo_is_inherited(finished: Study):
    path = own(
        finished,
        "mine",
        models={"big": {"path": "some/model"}},
        methods={"hunt": {"kind": "headhunt", "model": "big", "prompts": "config/prompts.yaml"}},
    )
    done = finished.snakemake("--dry-run", "--printshellcmds", "--configfile", path)
    assert done.returncode == 0, done.stdout
    assert "--frames-per-segment 16" in done.stdout
    assert "--size 448 448" in done.stdout
    assert "--device auto" in done.stdout
    assert "results/mine/" in done.stdout
    assert "results/demo/" not in done.stdout


def test_two_studies_stand_side_by_side(finished: Study):
    rows = finished.rows
    before = finished.results()
    still = [dict(row) for row in rows if row["split"] != "validation"]
    for row in still:
        if row["split"] == "test":
            row["label"] = row["events"] = ""
    finished.write_rows([*still])
    path = own(
        finished,
        "mine",
        methods={"still": {"kind": "motion"}},
        sampling={"size": [56, 56], "frames_per_segment": 4},
    )
    done = finished.snakemake("--configfile", path)
    assert done.returncode == 0, done.stdout
    assert "no validation events" in done.stdout
    shown = finished.run("hhvad", "show-results", "--config", path)
    tests = sum(row["split"] == "test" for row in still)
    assert f"of {tests} videos" in shown.stdout
    assert "AUC" not in shown.stdout
    after = finished.results()
    assert {name: after[name] for name in before} == before
    again = finished.snakemake("--dry-run", "--configfile", path)
    assert "Nothing to be done" in again.stdout
    finished.write_rows(rows)
    assert finished.planned() == {}


def test_whatever_a_config_says_reaches_no_shell(finished: Study):
    folder = finished.folder / "config" / "a 'b'; touch hacked"
    folder.mkdir()
    prompts = {"online": "a", "system": TRICKY, "prompts": {"a": TRICKY, "b": f"-x {TRICKY}"}}
    (folder / "pro mpts.yaml").write_text(yaml.safe_dump(prompts))
    rows = finished.rows
    source = finished.folder / next(row["path"] for row in rows)
    (finished.folder / "a b'; touch hacked.mp4").write_bytes(source.read_bytes())
    rows[0]["path"] = "a b'; touch hacked.mp4"
    finished.write_rows(rows)
    method = {
        "kind": "headhunt",
        "model": "demo",
        "prompts": f"config/{folder.name}/pro mpts.yaml",
        "experts": {"bootstrap": 2},
    }
    path = own(
        finished,
        "mine",
        study="x",
        models={"demo": {"path": "demo", "dtype": "float32", "revision": "v2; touch hacked"}},
        methods={"hunt": method},
        sampling={"size": [56, 56], "frames_per_segment": 4},
        compute={"device": "cpu", "threads": 1},
        metrics={"bootstrap": 10},
    )
    done = finished.snakemake("--configfile", path)
    assert done.returncode == 0, done.stdout
    assert not list(finished.folder.rglob("hacked"))
    assert (finished.folder / "results/x/metrics/hunt.json").is_file()
