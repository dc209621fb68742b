"""What the default config leaves aside: segments as calibration samples, ablations."""

from __future__ import annotations

from study import Study

from hhvad.files import read_json, read_tsv


def captures(jobs) -> set[tuple[str, ...]]:
    found = [
        dict(p.split("=") for p in text.split(", ")) for r, text in jobs if r == "capture_heads"
    ]
    return {(w["view"], w["prompt"], w["video"]) for w in found}


def test_segments_as_calibration_samples(finished: Study):
    finished.change_method(calibration={"view": "segments"}, experts={"bootstrap": 3})
    table = "results/demo/ablations/headhunt.tsv"
    done = finished.snakemake(table, "all")
    assert done.returncode == 0, done.stdout
    results = finished.folder / "results/demo"
    rows = read_tsv(results / "annotations/segments.tsv")
    calibration = {row["video"]: row for row in finished.rows if row["split"] == "calibration"}
    assert {row["video"] for row in rows} == set(calibration)
    assert {row["label"] for row in rows} == {"normal", "anomaly"}
    for row in rows:
        if row["label"] == "anomaly":
            assert calibration[row["video"]]["label"] == "anomaly"
    method, *others = read_json(results / "ablations/headhunt.json")["rows"]
    assert len([row for row in others if row["part"] == "sweep"]) == 5 * 5
    assert all(0 <= row["auc"] <= 1 for row in others)
    metrics = read_json(results / "metrics/headhunt.json")["metrics"]
    for name in ("auc", "ap_step", "f1_at_tau", "event_map"):
        assert [method[name + end] for end in ("", "_low", "_high")] == [
            metrics[name][key] for key in ("value", "low", "high")
        ]
    assert finished.planned() == {}

    finished.change_method(sweep={"counts": [2]})
    assert finished.planned() == {}
    ablating = {"fit_variants", "score_variants", "ablate_headhunt"}
    assert {rule for rule, _ in finished.planned(table)} == ablating

    prompts = finished.prompts
    prompts["prompts"]["new"] = "Is there anything here that should worry us?"
    finished.write_prompts(prompts)
    jobs = finished.planned()
    assert captures(jobs) == {("segments", "new", name) for name in calibration}
    assert not [rule for rule, _ in jobs if rule.startswith("sample")]
