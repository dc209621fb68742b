"""Methods side by side in a run: what is written, and what a change makes stale."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from study import Study

from hhvad.evaluation import compare
from hhvad.files import read_json, read_tsv

MOTIONS = {
    "still": {"kind": "motion"},
    "lively": {"kind": "motion", "quantile": 0.8},
}


def write_methods(study: Study, methods: dict) -> None:
    config = {**study.config, "models": {}, "methods": methods}
    (study.folder / "config/config.yaml").write_text(yaml.safe_dump(config))


@pytest.fixture(scope="module")
def _ran(_drawn: Study, tmp_path_factory: pytest.TempPathFactory) -> Study:
    study = _drawn.copy(tmp_path_factory.mktemp("compare") / "study")
    write_methods(study, MOTIONS)
    done = study.snakemake()
    assert done.returncode == 0, done.stdout
    return study


@pytest.fixture
def ran(_ran: Study, tmp_path: Path) -> Study:
    return _ran.copy(tmp_path / "study")


def rules_and_methods(study: Study) -> tuple[set[str], set[str]]:
    jobs = study.planned()
    rules = {rule for rule, _ in jobs}
    pairs = [pair for _, text in jobs for pair in text.split(", ")]
    return rules, {pair.removeprefix("method=") for pair in pairs if pair.startswith("method=")}


def test_a_run_of_two_methods_ends_in_a_comparison(ran: Study):
    assert ran.planned() == {}
    folder = ran.folder / "results/demo/comparison"
    files = {path.name for path in folder.iterdir()}
    assert files == {"curves.svg", "videos.svg"} | {
        f"{name}.{end}" for name in ("methods", "costs") for end in ("json", "tsv", "md", "tex")
    }
    result = read_json(folder / "methods.json")
    for one in result["methods"]:
        own = read_json(ran.folder / f"results/demo/metrics/{one['name']}.json")
        assert one["metrics"]["auc"] == own["metrics"]["auc"]
    kinds = [row["kind"] for row in read_tsv(folder / "methods.tsv")]
    assert kinds.count("difference") == len(compare.SHARES)
    shown = (ran.folder / "results/demo/viewer/data/metrics.js").read_text()
    assert '"comparison"' in shown
    assert '"costs"' in shown


def test_a_new_method_computes_its_own_and_the_comparison(ran: Study):
    write_methods(ran, {**MOTIONS, "third": {"kind": "motion", "quantile": 0.5}})
    rules, methods = rules_and_methods(ran)
    assert methods == {"third"}
    assert {"compare_methods", "compare_costs", "build_viewer"} < rules
    assert "measure_motion" not in rules


def test_another_smoothing_of_one_method(ran: Study):
    ran.change_method("still", locator={"border": "zero"})
    rules, methods = rules_and_methods(ran)
    assert methods == {"still"}
    assert "score_motion" not in rules
    assert "compare_methods" in rules


def test_one_method_is_not_compared(ran: Study):
    write_methods(ran, {"still": MOTIONS["still"]})
    assert "compare_methods" not in rules_and_methods(ran)[0]
