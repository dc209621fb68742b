"""Alarms by camera on few videos, by a method without a model: a run, and what gets stale."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from study import ROOT, Study

from hhvad.files import read_json, read_tsv, write_tsv
from hhvad.media.mask import LINE
from hhvad.sheet import COLUMNS, OPTIONAL

AFTER_EVENTS = {"report_metrics", "plot_curves", "plot_video", "build_viewer", "all"}
BUDGET = {"kind": "budget", "alarms_per_day": 4000, "window": 10, "pool": "shrink"}
SCREEN = [[0.5, 0], [1, 0], [1, 0.5], [0.5, 0.5]]
OF_SCORES = {"sample_segments", "measure_motion", "score_motion", "probe_video"}


def rules(jobs) -> set[str]:
    return {rule for rule, _ in jobs}


def write(study: Study, rows: list[dict[str, str]]) -> None:
    header = (*COLUMNS, *OPTIONAL)
    write_tsv(
        study.folder / "config/videos.tsv",
        header,
        [[row.get(column, "") for column in header] for row in rows],
    )


def write_masks(study: Study, **masks: list) -> None:
    (study.folder / "config/masks.yaml").write_text(yaml.safe_dump(masks))


def reference(number: int, camera: str) -> dict[str, str]:
    rows = read_tsv(ROOT / "config/videos.tsv")
    row = [one for one in rows if one["split"] == "calibration"][number]
    return {**row, "split": "reference", "label": "", "events": "", "camera": camera}


@pytest.fixture(scope="module")
def _ran(_drawn: Study, tmp_path_factory: pytest.TempPathFactory) -> Study:
    study = _drawn.copy(tmp_path_factory.mktemp("budget") / "study")
    study.change_config(models={}, metrics={"bootstrap": 0}, masks="config/masks.yaml")
    write_masks(study, door=[], yard=[SCREEN])
    config = study.folder / "config/config.yaml"
    study.change_config(methods=None)
    text = config.read_text().replace(
        "methods: null", f"methods: {{motion: {{kind: motion, locator: {BUDGET}}}}}"
    )
    config.write_text(text)
    kept = [row for row in study.rows if row["split"] in ("calibration", "test")][:2]
    tests = [row for row in study.rows if row["split"] == "test"][:2]
    rows = [{**row, "camera": "door"} for row in kept]
    rows += [{**tests[0], "camera": "door"}, {**tests[1], "camera": "yard"}]
    write(study, [*rows, reference(4, "door"), reference(5, "door")])
    done = study.snakemake(timeout=1500)
    assert done.returncode == 0, done.stdout
    assert "no reference footage of camera yard" in done.stdout
    return study


@pytest.fixture
def ran(_ran: Study, tmp_path: Path) -> Study:
    """A copy of the study, which has run to its end."""
    return _ran.copy(tmp_path / "study")


def test_what_is_written(ran: Study):
    assert ran.planned() == {}
    results = ran.folder / "results/demo"
    found = read_json(results / "locator/motion.json")["budget"]
    assert set(found["cameras"]) == {"door"}
    assert found["cameras"]["door"]["windows"] > 1
    name = [row["video"] for row in ran.rows if row["split"] == "test"][1]
    events = read_json(results / f"events/motion/{name}.json")
    assert events["camera"] == "yard"
    assert "pooled threshold" in events["notes"][0]
    shown = ran.run("hhvad", "show-results", "--config", "config/config.yaml").stdout
    assert "door: tau" in shown
    assert "any other camera: tau" in shown
    assert "expected alarms a day" in (results / "viewer/data/metrics.js").read_text()
    done = ran.run("hhvad", "show-mask", "yard")
    assert done.stdout == f"mask-yard.png: 1 polygons over a frame of {name}\n"
    picture = np.asarray(Image.open(ran.folder / "mask-yard.png"))
    assert (picture[0, -1] == LINE).all()


@pytest.mark.parametrize(
    ("change", "own"),
    [
        ({"alarms_per_day": 2000}, {"calibrate_budget", "localize_alarms"}),
        ({"window": 5}, {"calibrate_budget", "localize_alarms"}),
        ({"drop_top": 1}, {"calibrate_budget", "localize_alarms"}),
        ({"pool": "all"}, {"calibrate_budget", "localize_alarms"}),
        ({"merge_gap": 3}, {"localize_alarms"}),
        ({"min_duration": 3}, {"localize_alarms"}),
        ({"pad": 1}, {"localize_alarms"}),
        ({"low": 0.1}, {"localize_alarms"}),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_new_settings_reach_no_score(ran: Study, change: dict, own: set[str]):
    ran.change_method("motion", locator=change)
    assert rules(ran.planned()) == own | AFTER_EVENTS


def test_killed_jobs_leave_no_other_bytes(ran: Study):
    expected = ran.results()
    forced = ("--forcerun", "calibrate_budget")
    ran.kill_job("calibrate-budget", *forced)
    ran.kill_job("localize-alarms", *forced)
    done = ran.snakemake()
    assert done.returncode == 0, done.stdout
    assert ran.results() == expected


def test_a_reference_row_computes_its_own_scores_alone(ran: Study):
    write(ran, [*ran.rows, reference(6, "yard")])
    jobs = ran.planned()
    scored = {text for rule, text in jobs if rule in OF_SCORES}
    assert all(reference(6, "")["video"] in text for text in scored)
    assert rules(jobs) == (
        OF_SCORES | {"make_demo_video", "calibrate_budget", "localize_alarms"} | AFTER_EVENTS
    )


def test_a_camera_of_a_test_video_moves_its_events_alone(ran: Study):
    name = next(row["video"] for row in ran.rows if row["split"] == "test")
    write(ran, [{**row, "camera": "gate"} if row["video"] == name else row for row in ran.rows])
    write_masks(ran, door=[], yard=[SCREEN], gate=[])
    jobs = ran.planned()
    assert rules(jobs) == {"localize_alarms"} | AFTER_EVENTS
    assert [text for rule, text in jobs if rule == "localize_alarms"] == [
        f"method=motion, video={name}"
    ]


def test_settings_of_events_alone_calibrate_as_before(new_study: Study):
    new_study.change_method(locator={"merge_gap": 3})
    found = rules(new_study.planned())
    assert {"calibrate_locator", "localize_alarms"} <= found
    assert not {"calibrate_budget", "localize_events"} & found


def test_a_mask_computes_the_frames_of_its_camera_again(ran: Study):
    name = [row["video"] for row in ran.rows if row["split"] == "test"][1]
    write_masks(ran, yard=[[[0, 0], [0.5, 0], [0.5, 0.5]]], door=[])
    jobs = ran.planned()
    of_frames = {"sample_segments", "measure_motion"}
    assert {text for rule, text in jobs if rule in of_frames | {"score_motion"}} == {
        f"reader=motion, size=56x56, video={name}",
        f"video={name}",
        f"method=motion, video={name}",
    }
    assert rules(jobs) == of_frames | {"score_motion", "localize_alarms"} | AFTER_EVENTS


def test_the_masks_file_itself_is_no_input(ran: Study):
    (ran.folder / "config/masks.yaml").write_text(
        "yard: [[[0.5,0],[1,0],[1,.5],[.5,.5]]]\ndoor: []"
    )
    assert ran.planned() == {}


@pytest.mark.parametrize(
    ("masks", "message"),
    [
        ({"door": []}, "lacks camera 'yard'"),
        ({"door": [], "yard": [], "roof": []}, "has camera 'roof', which no row"),
        ({"door": [], "yard": [SCREEN[:2]]}, "camera yard: polygon 1 has 2 corners"),
    ],
)
def test_bad_masks(ran: Study, masks: dict, message: str):
    write_masks(ran, **masks)
    done = ran.run("hhvad", "check-config", "--config", "config/config.yaml")
    assert done.returncode == 2
    assert message in done.stdout
    assert done.stdout.count("\n") == 1


@pytest.mark.parametrize(
    ("locator", "message"),
    [
        ({"kind": "budget"}, "alarms_per_day is not set"),
        ({"kind": "budget", "alarms_per_day": 0}, "alarms_per_day is 0"),
        ({"kind": "budget", "alarms_per_day": 24}, "allow fewer than 24 a day"),
        ({"alarms_per_day": 2}, "kind is 'calibrated'"),
        ({"kind": "budget", "alarms_per_day": 2}, "split reference has no videos"),
        ({"ignore_hours": {"door": ["22-6"]}}, "names camera 'door', which no row"),
        ({"ignore_hours": {"default": ["22-6", "5-7"]}}, "overlaps another span"),
        ({"ignore_hours": {"default": ["22"]}}, "not a span of hours"),
    ],
)
def test_bad_settings(new_study: Study, locator: dict, message: str):
    new_study.change_method(locator=locator)
    done = new_study.run("hhvad", "check-config", "--config", "config/config.yaml")
    assert done.returncode == 2
    assert message in done.stdout
    assert done.stdout.count("\n") == 1
