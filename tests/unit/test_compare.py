"""Methods side by side: values against scikit-learn, differences, and the files of the command."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score
from viewer_study import Example, write_study

from hhvad.cli import main
from hhvad.errors import ArtifactError
from hhvad.evaluation import compare, evaluate
from hhvad.files import read_json, read_tsv, write_tsv

NAMES = ("head|hunt", "motion_1", "none")


def make_videos(seed: int, quality: float, noise: float = 0.3) -> list[evaluate.Scored]:
    """Twelve videos of 16-frame segments, half of them with an event; scores are rounded to tie."""
    truth, draw = np.random.default_rng(0), np.random.default_rng(seed)
    videos = []
    for index in range(12):
        frames = int(truth.integers(150, 400))
        start = int(truth.integers(20, 80))
        events = ((start, start + 60),) if index % 2 else ()
        starts = np.arange(0, frames, 16)
        bounds = np.stack([starts, np.minimum(starts + 16, frames)], axis=1)
        hit = np.array([any(s < e and t > b for b, e in events) for s, t in bounds])
        scores = np.clip(draw.normal(0.4, noise, len(bounds)) + quality * hit, 0, 1).round(1)
        videos.append(
            evaluate.Scored(
                f"v{index}",
                "anomaly" if events else "normal",
                ("fall",) if events else (),
                frames,
                events,
                bounds,
                scores,
            )
        )
    return videos


def make_methods(qualities: tuple[float, ...] = (0.5, 0.2, 0.0)) -> list[compare.Method]:
    methods = []
    for seed, (name, quality) in enumerate(zip(NAMES, qualities, strict=False)):
        videos = make_videos(seed, quality)
        result = evaluate.evaluate(videos, dataset="ucf-crime", tau=0.6, resamples=20)
        methods.append(compare.Method(name, videos, result))
    return methods


def frames_of(videos: list[evaluate.Scored]) -> tuple[np.ndarray, np.ndarray]:
    labels, scores = [], []
    for video in videos:
        label = np.zeros(video.n_frames)
        for start, end in video.events or ():
            label[start:end] = 1
        labels.append(label)
        scores.append(np.repeat(video.scores, np.diff(video.bounds, axis=1)[:, 0]))
    return np.concatenate(labels), np.concatenate(scores)


def test_values_and_differences_are_those_of_scikit_learn():
    methods = make_methods()
    result = compare.compare(methods, resamples=20, seed=0)
    expected = {}
    for method, shown in zip(methods, result["methods"], strict=True):
        labels, scores = frames_of(method.videos)
        reference = {
            "auc": roc_auc_score(labels, scores),
            "ap_step": average_precision_score(labels, scores),
        }
        for name, value in reference.items():
            assert shown["metrics"][name]["value"] == pytest.approx(value, abs=1e-12)
        expected[method.name] = reference["auc"]
        (x, y) = compare.curves(method)["roc"]
        assert np.trapezoid(y, x) == pytest.approx(reference["auc"], abs=1e-12)
    pairs = [one for one in result["differences"] if one["metric"] == "auc"]
    assert len(pairs) == 3
    for one in pairs:
        exact = expected[one["a"]] - expected[one["b"]]
        assert one["difference"] == pytest.approx(exact, abs=1e-12)
        assert one["low_corrected"] < one["low"] < one["difference"] < one["high"]
        assert one["high"] < one["high_corrected"]


def test_verdicts():
    best, _, worst = make_methods((0.6, 0.2, 0.0))
    twin = compare.Method("twin", best.videos, best.result)
    result = compare.compare([best, worst, twin], resamples=20, seed=0)
    auc = {(one["a"], one["b"]): one for one in result["differences"] if one["metric"] == "auc"}
    assert auc[best.name, worst.name]["told_apart"] is True
    same = auc[best.name, "twin"]
    assert (same["difference"], same["low"], same["told_apart"]) == (0, None, None)


def test_metrics_without_tau_have_no_difference():
    methods = []
    for seed, name in enumerate(NAMES[:2]):
        videos = make_videos(seed, 0.3)
        methods.append(compare.Method(name, videos, evaluate.evaluate(videos, resamples=0)))
    result = compare.compare(methods, resamples=0, seed=0)
    found = {one["metric"]: one for one in result["differences"]}
    assert found["f1_at_tau"]["difference"] is None
    assert found["f1_at_tau"]["told_apart"] is None
    assert found["auc"]["low"] is not None
    json.dumps(result, allow_nan=False)


def test_other_videos_are_refused():
    one, other = make_methods()[:2]
    fewer = compare.Method(other.name, other.videos[1:], other.result)
    with pytest.raises(ArtifactError, match="have not scored the same videos"):
        compare.compare([one, fewer], resamples=0, seed=0)


def test_tables_hold_everything_and_escape_names():
    result = compare.compare(make_methods(), resamples=20, seed=0)
    rows = [dict(zip(compare.COLUMNS, row, strict=True)) for row in compare.table_rows(result)]
    kinds = [row["kind"] for row in rows]
    assert kinds.count("method") == 3 * len(compare.HEADLINE)
    assert kinds.count("difference") == 3 * len(compare.SHARES)
    assert "baseline" in kinds
    assert "published" in kinds
    text = compare.markdown(result)
    assert r"head\|hunt" in text
    assert "published: LAVAD" in text
    table = text.split("\n\n")[0].splitlines()
    columns = {len(next(csv.reader([line.replace(r"\|", "")], delimiter="|"))) for line in table}
    assert columns == {len(compare.HEADLINE) + 3}
    tex = compare.latex(result)
    assert r"motion\_1" in tex
    assert r"\toprule" in tex
    body = [line for line in tex.splitlines() if line.endswith(r"\\")]
    assert {line.count(" & ") for line in body} == {len(compare.HEADLINE), 4}


def write_events(root, results, examples, methods):
    """Tables of the events that write_study writes as JSON."""
    for method in methods:
        for example in examples:
            events = read_json(results / f"events/{method}/{example.name}.json")["events"]
            columns = ("start_frame", "end_frame", "peak_score")
            rows = [[one[name] for name in columns] for one in events]
            write_tsv(results / f"events/{method}/{example.name}.tsv", columns, rows)


def test_command(tmp_path, capsys):
    examples = [
        Example("crash", 400, [(100, 180, 0.8)], "anomaly", category="crash", annotated="100-180"),
        Example("fall", 300, [(60, 150, 0.5)], "anomaly", category="fall", annotated="50-140"),
        Example("still", 300, [], "normal", category="night"),
        Example("busy", 350, [(200, 230, 0.4)], "normal", category="crowd"),
        Example("new", 200, []),
    ]
    methods = ("headhunt", "motion")
    sheet, results = write_study(tmp_path, examples, methods, videos=False)
    write_events(tmp_path, results, examples, methods)
    common = ["--sheet", str(sheet), "--interval", "half-open", "--bootstrap", "20", "--seed", "0"]
    for name in methods:
        flags = ["--method", name, *common, "--dataset", "none"]
        flags += ["--scores-folder", str(results / "localization" / name)]
        flags += ["--events-folder", str(results / "events" / name)]
        flags += ["--probes-folder", str(results / "probe")]
        flags += ["--locator", str(results / "locator" / f"{name}.json")]
        flags += ["--out", str(results / "metrics" / f"{name}.json")]
        assert main(["report-metrics", *flags, "--table", str(tmp_path / f"{name}.tsv")]) == 0
    written = []
    for folder in ("first", "second"):
        out = tmp_path / folder
        flags = ["--methods", *methods, "--results", str(results), *common]
        for flag, file in (
            ("--out", "methods.json"),
            ("--table", "methods.tsv"),
            ("--markdown", "methods.md"),
            ("--latex", "methods.tex"),
            ("--curves", "curves.svg"),
            ("--heat-map", "videos.svg"),
        ):
            flags += [flag, str(out / file)]
        assert main(["compare-methods", *flags]) == 0
        written.append({path.name: path.read_bytes() for path in sorted(out.iterdir())})
    assert len(written[0]) == 6
    assert written[0] == written[1]
    result = read_json(tmp_path / "first/methods.json")
    assert [one["name"] for one in result["methods"]] == list(methods)
    assert set(result["per_video"]) == {"crash", "fall", "still", "busy"}
    of_metrics = read_json(results / "metrics/headhunt.json")
    assert result["methods"][0]["metrics"]["auc"] == of_metrics["metrics"]["auc"]
    assert set(of_metrics["normal_categories"]) == {"night", "crowd"}
    assert {row["kind"] for row in read_tsv(tmp_path / "first/methods.tsv")} == {
        "method",
        "difference",
        "baseline",
    }
    assert "headhunt - motion" in capsys.readouterr().out
    assert main(["compare-methods", *flags[:2], *flags[3:]]) == 2
