"""Only what is stale runs: DESIGN's table of changes, each as a dry run that lists its jobs."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
import yaml
from study import ROOT, Study

from hhvad.files import read_tsv

AFTER_CAPTURE = {
    "score_saliency", "identify_heads", "fit_scorer", "score_headhunt", "calibrate_locator",
    "pack_detector", "localize_events", "report_metrics", "plot_video", "plot_heads",
    "plot_features", "plot_curves", "build_viewer", "all",
}  # fmt: skip
AFTER_SALIENCY = AFTER_CAPTURE - {"score_saliency"}
GRID = {"first": 0.2, "last": 0.8, "count": 7}
REPORT = {"report_metrics", "plot_curves", "check_annotations", "build_viewer", "all"}
OF_A_VIDEO = {
    "make_demo_video", "probe_video", "sample_segments", "capture_heads", "score_headhunt",
    "localize_events", "sample_thumbnails", "plot_video",
}  # fmt: skip


def rules(jobs) -> set[str]:
    return {rule for rule, _ in jobs}


def wildcards(jobs, rule: str) -> list[dict[str, str]]:
    return [
        dict(pair.split("=", 1) for pair in text.split(", "))
        for name, text in jobs
        if name == rule and text
    ]


def videos_of(jobs) -> set[str]:
    return {w["video"] for rule in OF_A_VIDEO for w in wildcards(jobs, rule)}


def of(study: Study, split: str, label: str | None = None) -> list[str]:
    rows = [row for row in study.rows if row["split"] == split]
    return [row["video"] for row in rows if label in (None, row["label"])]


def unused(study: Study, split: str) -> dict[str, str]:
    known = {row["video"] for row in study.rows}
    rows = read_tsv(ROOT / "config/videos.tsv")
    return next(r for r in rows if r["split"] == split and r["video"] not in known)


def test_nothing_to_do_after_a_complete_run(finished: Study):
    assert finished.planned() == {}


def test_new_test_video(finished: Study):
    row = unused(finished, "test")
    finished.write_rows([*finished.rows, row])
    jobs = finished.planned()
    assert videos_of(jobs) == {row["video"]}
    assert rules(jobs) == OF_A_VIDEO | REPORT


def test_new_calibration_video(finished: Study):
    row = unused(finished, "calibration")
    finished.write_rows([*finished.rows, row])
    jobs = finished.planned()
    captures = wildcards(jobs, "capture_heads")
    assert {w["video"] for w in captures} == {row["video"]}
    assert {w["prompt"] for w in captures} == set(finished.prompts["prompts"])
    own = {"make_demo_video", "probe_video", "sample_frames", "capture_heads"}
    assert rules(jobs) == own | AFTER_CAPTURE


def test_new_prompt(finished: Study):
    prompts = finished.prompts
    prompts["prompts"]["new"] = "Is there anything here that should worry us?"
    finished.write_prompts(prompts)
    jobs = finished.planned()
    captures = wildcards(jobs, "capture_heads")
    assert {w["prompt"] for w in captures} == {"new"}
    assert {w["video"] for w in captures} == set(of(finished, "calibration"))
    assert {w["prompt"] for w in wildcards(jobs, "score_saliency")} == {"new"}
    assert rules(jobs) == {"capture_heads"} | AFTER_CAPTURE


def test_new_wording(finished: Study):
    prompts = finished.prompts
    name = next(name for name in prompts["prompts"] if name != prompts["online"])
    prompts["prompts"][name] += " Think first."
    finished.write_prompts(prompts)
    jobs = finished.planned()
    captures = wildcards(jobs, "capture_heads")
    assert {(w["prompt"], w["view"]) for w in captures} == {(name, "video")}
    assert {w["prompt"] for w in wildcards(jobs, "score_saliency")} == {name}
    assert rules(jobs) == {"capture_heads"} | AFTER_CAPTURE


@pytest.mark.parametrize("change", [{"penalty": 1.0}, {"count": 3}], ids=["lambda", "K"])
def test_new_choice_of_heads(finished: Study, change: dict):
    finished.change_method(experts=change)
    assert rules(finished.planned()) == AFTER_SALIENCY


def test_new_metrics_of_saliency(finished: Study):
    finished.change_method(saliency={"metrics": ["lda", "kl"]})
    assert rules(finished.planned()) == AFTER_CAPTURE


@pytest.mark.parametrize(
    "change",
    [{"border": "zero"}, {"fixed": "paper"}, {"sigmas": GRID}, {"taus": GRID}, {"passes": 2}],
    ids=["border", "fixed", "sigmas", "taus", "passes"],
)
def test_new_locator(finished: Study, change: dict):
    finished.change_method(locator=change)
    after = {"calibrate_locator", "pack_detector", "localize_events", "plot_video"}
    assert rules(finished.planned()) == after | {
        "report_metrics",
        "plot_curves",
        "build_viewer",
        "all",
    }


def test_new_annotation_of_a_test_video(finished: Study, edit: Callable):
    name = of(finished, "test", "anomaly")[0]
    edit(name, {"events": "10-60"})
    jobs = finished.planned()
    assert {w["video"] for w in wildcards(jobs, "plot_video")} == {name}
    assert rules(jobs) == REPORT | {"plot_video"}


@pytest.mark.parametrize("change", [{"revision": "v2"}, {"dtype": "bfloat16"}])
def test_new_model(finished: Study, change: dict):
    before = finished.planned("--forceall")
    finished.change_config(models={"demo": {**finished.config["models"]["demo"], **change}})
    jobs = finished.planned()
    assert rules(jobs) == {"sample_segments", "capture_heads"} | AFTER_CAPTURE
    assert len(wildcards(jobs, "capture_heads")) == len(wildcards(before, "capture_heads"))


def test_a_replaced_video_makes_its_own_results_stale(finished: Study):
    name, other = of(finished, "test")[1:3]
    path, source = (
        finished.folder / next(row["path"] for row in finished.rows if row["video"] == video)
        for video in (name, other)
    )
    # Snakemake compares the content of files below a megabyte: a new time stamp is no new video.
    path.touch()
    assert finished.planned() == {}
    path.write_bytes(source.read_bytes())
    jobs = finished.planned()
    assert videos_of(jobs) == {name}
    assert "capture_heads" in rules(jobs)
    assert "score_saliency" not in rules(jobs)


def test_frames_of_segments_are_gone_and_nothing_misses_them(finished: Study):
    assert not list(finished.folder.glob("results/demo/scratch/segments/*/*/*.h5"))
    assert list(finished.folder.glob("results/demo/frames/video/*/*.h5"))


@pytest.mark.parametrize(
    ("file", "own"),
    [
        ("scores/headhunt/{}.tsv", {"score_headhunt", "localize_events", "plot_video"}),
        ("events/headhunt/{}.tsv", {"localize_events", "plot_video"}),
        ("figures/headhunt/videos/{}.png", {"plot_video"}),
    ],
)
def test_deleting_one_result_reruns_what_needs_it(finished: Study, file: str, own: set[str]):
    name = of(finished, "test")[0]
    (finished.folder / "results/demo" / file.format(name)).unlink()
    jobs = finished.planned()
    assert videos_of(jobs) == {name}
    report = {"all"} if own == {"plot_video"} else REPORT - {"check_annotations"}
    assert rules(jobs) == own | report


def with_methods(study: Study, **others: dict) -> None:
    study.change_config(methods={**study.config["methods"], **others})


def test_another_method_computes_its_own_steps_alone(finished: Study):
    with_methods(finished, motion={"kind": "motion"})
    jobs = finished.planned()
    assert rules(jobs) == {
        "sample_segments", "measure_motion", "score_motion", "calibrate_locator",
        "localize_events", "report_metrics", "plot_video", "plot_curves", "compare_methods",
        "build_viewer", "all",
    }  # fmt: skip
    assert {w["method"] for rule, _ in jobs for w in wildcards(jobs, rule) if "method" in w} == {
        "motion"
    }


@pytest.mark.parametrize(
    "change", [{"experts": {"count": 3}}, {"scorer": {"kind": "svm"}}], ids=["K", "scorer"]
)
def test_another_headhunt_shares_the_captures(finished: Study, change: dict):
    with_methods(finished, other=finished.config["methods"]["headhunt"] | change)
    jobs = finished.planned()
    assert "capture_heads" not in rules(jobs)
    assert not {rule for rule in rules(jobs) if rule.startswith("sample")}
    methods = {w["method"] for rule, _ in jobs for w in wildcards(jobs, rule) if "method" in w}
    assert methods == {"other"}


def test_the_ablations_capture_nothing_and_the_oracle_only_test_videos(finished: Study):
    jobs = finished.planned("results/demo/ablations/headhunt.tsv")
    assert rules(jobs) == {"fit_variants", "score_variants", "ablate_headhunt"}
    jobs = finished.planned("results/demo/ablations/headhunt/oracle.tsv")
    own = {"fit_each_prompt", "score_each_prompt", "choose_oracle"}
    assert rules(jobs) == {"sample_segments", "capture_heads"} | own
    captures = wildcards(jobs, "capture_heads")
    assert {w["view"] for w in captures} == {"segments"}
    assert {w["video"] for w in captures} == set(of(finished, "test"))
    others = set(finished.prompts["prompts"]) - {finished.prompts["online"]}
    assert {w["prompt"] for w in captures} == others


def test_another_model_captures_for_itself(finished: Study):
    again = {"path": "demo", "dtype": "bfloat16"}
    finished.change_config(models={**finished.config["models"], "again": again})
    with_methods(finished, other=finished.config["methods"]["headhunt"] | {"model": "again"})
    jobs = finished.planned()
    assert {w["model"] for w in wildcards(jobs, "capture_heads")} == {"again"}
    methods = {w["method"] for rule, _ in jobs for w in wildcards(jobs, rule) if "method" in w}
    assert methods == {"other"}
    assert "sample_frames" not in rules(jobs)  # they stay, for all models


def test_the_order_of_the_sheet_means_nothing(finished: Study):
    finished.write_rows(finished.rows[::-1])
    assert finished.planned() == {}


def test_a_video_replaced_by_an_older_file_is_noticed(finished: Study, edit: Callable):
    """`cp -p`, `rsync -a`, `mv` and restored backups keep old dates."""
    name, other = of(finished, "test")[1:3]
    row = next(row for row in finished.rows if row["video"] == name)
    copy = finished.folder / "mine.mp4"
    copy.write_bytes((finished.folder / row["path"]).read_bytes())
    edit(name, {"path": "mine.mp4"})
    assert finished.snakemake().returncode == 0
    source = next(row["path"] for row in finished.rows if row["video"] == other)
    copy.write_bytes((finished.folder / source).read_bytes())
    os.utime(copy, (1e9, 1e9))
    jobs = finished.planned()
    assert videos_of(jobs) == {name}
    assert "capture_heads" in rules(jobs)


@pytest.mark.parametrize(
    "target",
    [
        "heads/internvl3-8b/video/direct/{}.h5",
        "heads/demo/video/nonsense/{}.h5",
        "heads/demo/video/direct/nobody.h5",
        "scores/nonsense/{}.tsv",
    ],
    ids=["model", "prompt", "video", "method"],
)
def test_what_is_not_configured_cannot_be_made(finished: Study, target: str):
    name = of(finished, "calibration")[0]
    done = finished.snakemake("--dry-run", f"results/demo/{target.format(name)}")
    assert done.returncode == 1
    assert "MissingRuleException" in done.stdout
    assert "KeyError" not in done.stdout


def test_another_online_prompt_captures_for_itself(finished: Study):
    prompts = finished.prompts
    other = next(name for name in prompts["prompts"] if name != prompts["online"])
    path = finished.folder / "config/other.yaml"
    path.write_text(yaml.safe_dump({**prompts, "online": other}))
    mine = finished.config["methods"]["headhunt"] | {"prompts": "config/other.yaml"}
    with_methods(finished, other=mine)
    jobs = finished.planned()
    captures = wildcards(jobs, "capture_heads")
    assert {(w["view"], w["prompt"]) for w in captures} == {("segments", other)}
    methods = {w["method"] for rule, _ in jobs for w in wildcards(jobs, rule) if "method" in w}
    assert methods == {"other"}
