"""Only what is stale runs: DESIGN's table of changes, each as a dry run that lists its jobs."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from study import ROOT, Study

from hhvad.files import read_tsv

AFTER_CAPTURE = {
    "score_saliency", "identify_heads", "fit_scorer", "score_video", "calibrate_locator",
    "localize_events", "report_metrics", "plot_video", "plot_heads", "plot_features",
    "plot_curves", "all",
}  # fmt: skip
AFTER_SALIENCY = AFTER_CAPTURE - {"score_saliency"}
GRID = {"first": 0.2, "last": 0.8, "count": 7}
REPORT = {"report_metrics", "plot_curves", "check_annotations", "all"}
OF_A_VIDEO = {
    "make_demo_video", "probe_video", "sample_segments", "capture_heads", "score_video",
    "localize_events", "plot_video",
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
    finished.change_config(experts=change)
    assert rules(finished.planned()) == AFTER_SALIENCY


def test_new_metrics_of_saliency(finished: Study):
    finished.change_config(saliency={"metrics": ["lda", "kl"]})
    assert rules(finished.planned()) == AFTER_CAPTURE


@pytest.mark.parametrize(
    "change",
    [{"border": "zero"}, {"sigma": 1.0}, {"tau": 0.5}, {"taus": GRID}],
    ids=["border", "sigma", "tau", "grid"],
)
def test_new_locator(finished: Study, change: dict):
    finished.change_config(locator=change)
    after = {"calibrate_locator", "localize_events", "plot_video", "report_metrics"}
    assert rules(finished.planned()) == after | {"plot_curves", "all"}


def test_new_annotation_of_a_test_video(finished: Study, edit: Callable):
    name = of(finished, "test", "anomaly")[0]
    edit(name, {"events": "10-60"})
    jobs = finished.planned()
    assert {w["video"] for w in wildcards(jobs, "plot_video")} == {name}
    assert rules(jobs) == REPORT | {"plot_video"}


@pytest.mark.parametrize("change", [{"revision": "v2"}, {"dtype": "bfloat16"}])
def test_new_model(finished: Study, change: dict):
    before = finished.planned("--forceall")
    finished.change_config(model=change)
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
    assert not list(finished.folder.glob("results/scratch/segments/*.h5"))
    assert list(finished.folder.glob("results/frames/video/*.h5"))


@pytest.mark.parametrize(
    ("file", "own"),
    [
        ("scores/demo/{}.tsv", {"score_video", "localize_events", "plot_video"}),
        ("events/demo/{}.tsv", {"localize_events", "plot_video"}),
        ("figures/demo/videos/{}.png", {"plot_video"}),
    ],
)
def test_deleting_one_result_reruns_what_needs_it(finished: Study, file: str, own: set[str]):
    name = of(finished, "test")[0]
    (finished.folder / "results" / file.format(name)).unlink()
    jobs = finished.planned()
    assert videos_of(jobs) == {name}
    report = {"all"} if own == {"plot_video"} else REPORT - {"check_annotations"}
    assert rules(jobs) == own | report
