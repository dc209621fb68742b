"""Only what is stale runs: DESIGN's table of changes, each as a dry run that lists its jobs."""

from __future__ import annotations

import json
import os
from collections.abc import Callable

import pytest
import yaml
from study import ROOT, Study

from hhvad.files import read_json, read_tsv, write_tsv
from hhvad.sheet import COLUMNS

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
    [
        {"border": "zero"},
        {"fixed": "paper"},
        {"sigmas": GRID},
        {"taus": GRID},
        {"passes": 2},
        {"causal": True},
    ],
    ids=["border", "fixed", "sigmas", "taus", "passes", "causal"],
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


def test_a_mask_of_one_camera(finished: Study):
    """The calibration videos are of another camera: neither their frames nor heads are stale."""
    name = of(finished, "test", "anomaly")[0]
    rows = [{**row, "camera": "door" if row["video"] == name else ""} for row in finished.rows]
    header = (*COLUMNS, "camera")
    table = [[row[column] for column in header] for row in rows]
    write_tsv(finished.folder / "config/videos.tsv", header, table)
    (finished.folder / "config/masks.yaml").write_text(
        "default: []\ndoor: [[[0, 0], [1, 0], [1, 0.2]]]"
    )
    finished.change_config(masks="config/masks.yaml")
    jobs = finished.planned()
    assert videos_of(jobs) == {name}
    own = OF_A_VIDEO - {"make_demo_video", "probe_video", "sample_thumbnails"}
    # The detector keeps the masks.
    assert rules(jobs) == own | {"pack_detector"} | REPORT - {"check_annotations"}


def test_marks_suppress_events_and_give_them_back(finished: Study):
    name = of(finished, "test", "anomaly")[0]
    events = finished.folder / f"results/demo/events/headhunt/{name}.json"
    marks = finished.folder / "config/marks.tsv"

    def mark(word: str) -> None:
        row = (name, "headhunt", 0, 10_000, word)
        write_tsv(marks, ("video", "method", "start_frame", "end_frame", "mark"), [row])

    mark("false")
    # Every video is one event.
    settings = {"calibrate": False, "fixed": {"sigma": 0.5, "tau": 0.0}}
    finished.change_method(locator=settings)
    finished.change_method(locator={"suppress": {"marks": "config/marks.tsv"}})
    after = {"localize_alarms", "report_metrics", "plot_video", "plot_curves", "build_viewer"}
    located = {"calibrate_locator", "pack_detector"}
    assert rules(finished.planned()) == after | located | {"learn_marks", "all"}
    done = finished.snakemake()
    assert done.returncode == 0, done.stdout
    (found,) = read_json(events)["events"]
    assert (found["suppressed"], found["cosine"]) == (f"{name} 0-10000", 1.0)
    assert '"quiet":[' in (finished.folder / "results/demo/viewer/data/study.js").read_text()
    assert finished.planned() == {}
    expected = finished.results()
    forced = ("--forcerun", "learn_marks")
    finished.kill_job("learn-marks", *forced)
    done = finished.snakemake(*forced)
    assert done.returncode == 0, done.stdout
    assert finished.results() == expected
    mark("unsure")
    assert rules(finished.planned()) == after | {"learn_marks", "all"}
    finished.change_method(locator={"suppress": {"similarity": 0.5}})
    mark("false")
    assert rules(finished.planned()) == after | {"all"}


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


def test_what_becomes_of_damage_concerns_damaged_videos_alone(finished: Study):
    finished.change_config(sampling={"on_damage": "skip-to-keyframe"})
    assert finished.planned() == {}
    name = of(finished, "test")[0]
    probe = finished.folder / f"results/demo/probe/{name}.json"
    times = probe.stat()
    probe.write_text(json.dumps({**json.loads(probe.read_text()), "damaged": [[3, 9]]}))
    os.utime(probe, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert finished.planned() == {}
    finished.change_config(sampling={"on_damage": "fail"})
    jobs = finished.planned()
    assert videos_of(jobs) == {name}
    assert rules(jobs) == OF_A_VIDEO - {"make_demo_video"} | REPORT


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
        "compare_costs", "build_viewer", "all",
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
    """`cp -p`, `rsync -a`, `mv` and restored backups keep old dates.

    Beforehand: where the file's name says when it was recorded, a pattern moves its events alone.
    """
    name, other = of(finished, "test")[1:3]
    row = next(row for row in finished.rows if row["video"] == name)
    copy = finished.folder / "mine_20261124-080000.mp4"
    copy.write_bytes((finished.folder / row["path"]).read_bytes())
    edit(name, {"path": copy.name})
    assert finished.snakemake().returncode == 0
    finished.change_config(start_pattern="mine_%Y%m%d-%H%M%S")
    jobs = finished.planned()
    assert videos_of(jobs) == {name}
    assert rules(jobs) == {"localize_events", "plot_video"} | REPORT - {"check_annotations"}
    finished.change_config(start_pattern=None)
    assert finished.planned() == {}
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
