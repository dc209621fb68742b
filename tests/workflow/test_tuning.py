"""What is trained on request: an adapter (`snakemake tune`), the head of a trained scorer."""

from __future__ import annotations

from pathlib import Path

import pytest
from study import Study

from hhvad.artifacts import probe
from hhvad.datasets.hivau_items import Item, write_items
from hhvad.files import read_tsv

pytest.importorskip("peft", reason="needs peft: pip install 'hhvad[tune]'")

SECTION = {
    "model": "demo",
    "lessons": ["config/lessons.tsv"],
    "frames": 8,
    "rank": 2,
    "alpha": 4,
    "rate": 1e-3,
    "batch": 2,
    "epochs": 4,
}


def write_lessons(study: Study, splits: tuple[str, ...] = ("calibration",)) -> None:
    items = []
    for row in study.rows:
        if row["split"] in splits:
            found = probe.read(study.folder / f"results/demo/probe/{row['video']}.json")
            answer = "Yes." if row["label"] == "anomaly" else "No."
            items += [
                Item(
                    str(len(items)),
                    "video",
                    "judgement",
                    row["video"],
                    0,
                    end,
                    True,
                    "Odd?",
                    answer,
                )
                for end in (found.frames, found.frames // 2)
            ]
    items.append(Item("x", "video", "judgement", "elsewhere", 0, 9, True, "Odd?", "No."))
    write_items(study.folder / "config/lessons.tsv", items)


def rules(study: Study, *targets: str) -> set[str]:
    return {rule for rule, _ in study.planned(*targets)}


@pytest.fixture
def tuning(finished: Study) -> Study:
    finished.change_config(tune=SECTION)
    write_lessons(finished)
    return finished


def test_a_model_is_tuned_killed_and_used(tuning: Study, tmp_path: Path):
    assert rules(tuning) == set()  # not of `all`
    whole = {"list_lessons", "sample_lessons", "tune_lora", "merge_lora", "tune"}
    assert rules(tuning, "tune") == whole
    killed = tuning.copy(tmp_path / "killed")

    done = tuning.snakemake("tune")
    assert done.returncode == 0, done.stdout
    assert rules(tuning, "tune") == set()
    tuned = tuning.folder / "results/demo/tuned"
    losses = [float(row["loss"]) for row in read_tsv(tuned / "adapter/loss.tsv")]
    lessons = len(read_tsv(tuned / "lessons.tsv"))
    assert lessons == 2 * sum(row["split"] == "calibration" for row in tuning.rows)
    assert len(losses) == 4 * (lessons // 2)
    assert losses[-1] < losses[0]
    assert (
        "1 questions about 1 videos that are not in"
        in (tuning.folder / "logs/demo/list_lessons.log").read_text()
    )
    assert not list((tuning.folder / "results/demo").glob("scratch/lessons/**/*.h5"))

    killed.kill_job("tune-lora", "tune")
    killed.kill_job("merge-lora", "tune")
    done = killed.snakemake("tune")
    assert done.returncode == 0, done.stdout
    for path in sorted(tuned.glob("*/*")):
        if path.is_file() and not path.parent.name.endswith(".state"):
            same = killed.folder / path.relative_to(tuning.folder)
            assert same.read_bytes() == path.read_bytes(), path

    tuning.change_config(models={"tuned": {"path": "results/demo/tuned/checkpoint"}})
    tuning.change_method(model="tuned")
    done = tuning.snakemake("results/demo/scores/headhunt/{}.tsv".format(tuning.rows[-1]["video"]))
    assert done.returncode == 0, done.stdout


def test_what_a_change_runs(tuning: Study):
    done = tuning.snakemake("tune")
    assert done.returncode == 0, done.stdout
    tuning.change_config(tune={"rate": 2e-3})
    assert rules(tuning, "tune") == {"sample_lessons", "tune_lora", "merge_lora", "tune"}
    assert rules(tuning) == set()
    done = tuning.snakemake("tune")
    assert done.returncode == 0, done.stdout
    tuning.change_config(tune={"frames": 4})
    assert rules(tuning, "tune") == {"sample_lessons", "tune_lora", "merge_lora", "tune"}


def test_nothing_is_learnt_of_videos_that_judge(tuning: Study):
    write_lessons(tuning, ("calibration", "test"))
    done = tuning.snakemake("tune")
    assert done.returncode != 0
    tests = [row["video"] for row in tuning.rows if row["split"] == "test"]
    assert f"{2 * len(tests)} of " in done.stdout
    assert f"{tests[0]} (split test)" in done.stdout
    assert "Traceback" not in done.stdout
    assert not (tuning.folder / "results/demo/tuned/lessons.tsv").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": "none"}, "tune.model is 'none'"),
        ({"lessons": ["config/no.tsv"]}, "tune: there is no file config/no.tsv"),
        ({"lessons": []}, "it needs `instructions` or `lessons`"),
        ({"instructions": "config/lessons.tsv"}, "belong together"),
        ({"dropout": 1}, "tune.dropout"),
    ],
)
def test_bad_settings_are_said_before_any_job(tuning: Study, change: dict, message: str):
    tuning.change_config(tune=change)
    done = tuning.snakemake("--dry-run", "tune")
    assert done.returncode != 0
    assert message in done.stdout


HEAD = {"steps": 400, "batch": 4, "snippets": 40, "hidden": 16, "memory": 4, "rate": 1e-3}


def test_a_head_is_trained_killed_and_used(finished: Study, tmp_path: Path):
    scorer = {"kind": "scorer", "model": "demo", "train": HEAD}
    finished.change_config(methods={**finished.config["methods"], "scorer": scorer})
    weights, metrics = "results/demo/trained/scorer.safetensors", "results/demo/metrics/scorer.json"
    killed = finished.copy(tmp_path / "killed")
    done = finished.snakemake(metrics)
    assert done.returncode == 0, done.stdout
    assert (finished.folder / metrics).is_file()
    assert len(read_tsv(finished.folder / "results/demo/trained/scorer.tsv")) == 4

    killed.kill_job("train-scorer", weights)
    done = killed.snakemake(weights)
    assert done.returncode == 0, done.stdout
    assert (killed.folder / weights).read_bytes() == (finished.folder / weights).read_bytes()

    finished.change_method("scorer", train={**HEAD, "seed": 1})
    assert {"train_scorer", "score_vectors"} <= rules(finished, metrics)
    assert "embed_class_tokens" not in rules(finished, metrics)
    finished.change_method("scorer", train=HEAD, stride=8)
    assert {"train_scorer", "embed_class_tokens"} <= rules(finished, metrics)
