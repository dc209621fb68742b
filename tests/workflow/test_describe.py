"""Sentences beside events, through the Snakefile: what they say, and what makes them stale."""

from __future__ import annotations

import json

import pytest
from study import Study

from hhvad.files import read_json

# Wordings that the demo's model was taught.
DESCRIBE = {
    "model": "demo",
    "hierarchy": "frames",
    "focus": {"frames": 8},
    "max_tokens": 24,
    "questions": {
        "clip": "what happens here?",
        "judgement": "Does something unusual happen in this video? Answer yes or no.",
        "description": "what happens here?",
        "analysis": "Where does it happen?",
    },
}
LEVELS = {"describe_clips", "describe_events", "describe_video"}
ASKED = {"sample_clips", "report_descriptions", "build_viewer", "all"} | LEVELS


def rules(study: Study) -> set[str]:
    return {rule for rule, _ in study.planned()}


@pytest.fixture(scope="module")
def _described(_finished: Study, tmp_path_factory: pytest.TempPathFactory) -> Study:
    study = _finished.copy(tmp_path_factory.mktemp("described") / "study")
    study.change_config(describe=DESCRIBE)
    assert rules(study) == ASKED | {"sample_focus"}  # no score, no event
    done = study.snakemake()
    assert done.returncode == 0, done.stdout
    return study


@pytest.fixture
def described(_described: Study, tmp_path) -> Study:
    return _described.copy(tmp_path / "described")


def test_events_have_sentences(described: Study):
    folder = described.folder / "results/demo"
    assert rules(described) == set()
    files = sorted((folder / "descriptions/headhunt").glob("*.json"))
    said = [json.loads(path.read_text()) for path in files]
    assert len(said) == 3
    assert all(one["about"]["description"] for one in said)
    shown = json.loads((folder / "viewer/events.json").read_text())
    wanted = sum(len(one["events"]) for one in said)
    assert wanted == len(shown) > 0
    assert all(event["description"] for event in shown)


@pytest.mark.parametrize(
    ("change", "may_run"),
    [
        ({"questions": {"analysis": "In which part of the picture is the incident?"}}, ASKED),
        ({"max_tokens": 12}, ASKED),
        ({"focus": {"frames": 4}}, ASKED | {"sample_focus"}),
        ({"margin_seconds": 1.0}, ASKED | {"sample_focus"}),
    ],
    ids=["wording", "decoding", "frames", "margin"],
)
def test_a_change_of_descriptions_runs_no_scores(described: Study, change, may_run):
    new = {**DESCRIBE, **change}
    if "questions" in change:
        new["questions"] = {**DESCRIBE["questions"], **change["questions"]}
    if "focus" in change:
        new["focus"] = {**DESCRIBE["focus"], **change["focus"]}
    described.change_config(describe=new)
    assert rules(described) == may_run


def test_a_moved_event_is_described_again_and_no_other(described: Study):
    described.change_method(locator={"sigmas": {"first": 0.5, "last": 0.5, "count": 1}})
    planned = rules(described)
    assert not planned & {"capture_heads", "score_headhunt", "sample_segments"}
    assert planned >= ASKED
    done = described.snakemake()
    assert done.returncode == 0, done.stdout
    asked = [
        line
        for path in (described.folder / "logs/demo").glob("describe_*/headhunt/*.log")
        for line in path.read_text().splitlines()
        if line.endswith("questions are new")
    ]
    assert asked
    assert any(line.startswith("0 of") for line in asked)  # videos whose events stayed


def test_without_the_section_nothing_of_it_runs(described: Study):
    config = described.config
    del config["describe"]
    (described.folder / "config/config.yaml").write_text(json.dumps(config))
    assert rules(described) == {"build_viewer", "all"}


def test_the_answer_of_a_run_has_the_sentences(described: Study):
    shown = described.run("hhvad", "show-results", "--config", "config/config.yaml")
    assert shown.returncode == 0, shown.stdout
    assert "what the model says" in shown.stdout
    files = sorted((described.folder / "results/demo/descriptions/headhunt").glob("*.json"))
    said = [event["description"] for file in files for event in read_json(file)["events"]]
    assert said
    assert all(sentence in shown.stdout for sentence in said)
