"""score-headhunt, pack-detector, calibrate-locator and localize-events on small made-up files."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import probes
import pytest

from hhvad.artifacts import hdf5 as artifacts
from hhvad.cli import main
from hhvad.files import read_json, read_tsv, write_tsv
from hhvad.localization import locator
from hhvad.methods.headhunt.scorer import Scorer

MODEL = {"model": "tiny", "revision": None, "dtype": "float32"}
PROVENANCE = {**MODEL, "prompt": "direct", "prompt_text": "Abnormal?"}
EXPERTS = np.array([[1, 0], [0, 2]])
COLUMNS = ("segment", "start_frame", "end_frame", "score")


@pytest.fixture
def scorer(tmp_path):
    rng = np.random.default_rng(0)
    z = rng.normal(size=(12, 2, 4))
    fitted = Scorer().fit(z + np.arange(12)[:, None, None] % 2, np.arange(12) % 2)
    path = tmp_path / "scorer.h5"
    arrays = {**fitted.arrays(), "experts": EXPERTS}
    artifacts.write(path, "scorer", arrays, {**PROVENANCE, "kind": "logistic"})
    return path, fitted


def capture(path, features, **changes):
    segments = np.array([[48 * i, 48 * i + 48] for i in range(len(features))])
    segments[-1, 1] -= 8
    arrays = {"features": features.astype(np.float32), "segments": segments}
    artifacts.write(path, "features", arrays, {**PROVENANCE, "view": "segments", **changes})
    return str(path)


def score(features, scorer, out):
    return main(
        ["score-headhunt", "--features", features, "--scorer", str(scorer[0]), "--out", str(out)]
    )


def test_scores_are_exact_and_come_from_the_experts(scorer, tmp_path):
    features = np.random.default_rng(1).normal(size=(5, 2, 3, 4)).astype(np.float32)
    features[:, 0, 0] = np.nan  # no expert: it does not matter
    out = tmp_path / "v.tsv"
    assert score(capture(tmp_path / "v.h5", features), scorer, out) == 0
    rows = read_tsv(out, COLUMNS)
    expected = scorer[1].predict_proba(features[:, EXPERTS[:, 0], EXPERTS[:, 1]])
    assert [float(row["score"]) for row in rows] == expected.tolist()
    assert rows[-1]["end_frame"] == str(5 * 48 - 8)


def test_a_detector_scores_as_its_scorer_does(scorer, tmp_path):
    features = capture(tmp_path / "v.h5", np.random.default_rng(1).normal(size=(5, 2, 3, 4)))
    fitted = artifacts.read(scorer[0], "scorer")
    detector = tmp_path / "detector.h5"
    provenance = {**fitted.provenance, "locator": locator.Locator(1.0, 0.5).to_json()}
    artifacts.write(detector, "detector", fitted.arrays, provenance)
    assert score(features, scorer, tmp_path / "a.tsv") == 0
    assert score(features, (detector,), tmp_path / "b.tsv") == 0
    assert (tmp_path / "a.tsv").read_bytes() == (tmp_path / "b.tsv").read_bytes()


def test_a_bad_feature_is_an_error_never_a_score(scorer, tmp_path, capsys):
    features = np.zeros((5, 2, 3, 4))
    features[3, 0, 2, 1] = np.inf
    assert score(capture(tmp_path / "v.h5", features), scorer, tmp_path / "v.tsv") == 2
    assert "(0, 2)" in capsys.readouterr().err
    assert not (tmp_path / "v.tsv").exists()


def test_another_wording_is_refused(scorer, tmp_path, capsys):
    features = capture(tmp_path / "v.h5", np.zeros((2, 2, 3, 4)), prompt_text="Normal?")
    assert score(features, scorer, tmp_path / "v.tsv") == 2
    assert "Normal?" in capsys.readouterr().err


@pytest.mark.parametrize(
    "sampling", [{"frames_per_segment": 8, "segment_length": 24}, {"frames_per_segment": 4}]
)
def test_another_sampling_is_refused_another_view_is_not(scorer, tmp_path, capsys, sampling):
    fitted = artifacts.read(scorer[0], "scorer")
    provenance = {
        **PROVENANCE,
        "kind": "logistic",
        "sampling": {"frames_per_segment": 8},
        "view": "video",
    }
    artifacts.write(scorer[0], "scorer", fitted.arrays, provenance)
    features = capture(tmp_path / "v.h5", np.zeros((2, 2, 3, 4)), sampling=sampling)
    expected = 0 if sampling["frames_per_segment"] == 8 else 2
    assert score(features, scorer, tmp_path / "v.tsv") == expected
    assert ("sampling frames_per_segment is 4" in capsys.readouterr().err) == bool(expected)


def test_scoring_imports_nothing_heavy(scorer, tmp_path):
    features = capture(tmp_path / "v.h5", np.zeros((2, 2, 3, 4)))
    code = (
        "import sys; from hhvad.cli import main; "
        f"main(['score-headhunt', '--features', {features!r}, '--scorer', {str(scorer[0])!r}, "
        f"'--out', {str(tmp_path / 'v.tsv')!r}]); "
        "print([m for m in ('sklearn', 'scipy', 'torch', 'pandas') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"


def write_scores(path, scores, last=None):
    rows = [(i, 10 * i, 10 * i + 10, float(s)) for i, s in enumerate(scores)]
    if last:
        rows[-1] = (*rows[-1][:2], last, rows[-1][3])
    write_tsv(path, COLUMNS, rows)
    return str(path)


def write_probe(path, frames, fps="25/1"):
    probes.write_probe(path, frames, fps)
    return str(path)


@pytest.fixture
def validation(tmp_path):
    rng = np.random.default_rng(4)
    first = np.r_[rng.uniform(0, 0.4, 10), rng.uniform(0.5, 1, 8), rng.uniform(0, 0.4, 5)]
    scores = [first, rng.uniform(0, 0.6, 12)]
    paths = [write_scores(tmp_path / f"s{i}.tsv", s) for i, s in enumerate(scores)]
    probes = [write_probe(tmp_path / f"p{i}.json", 10 * len(s)) for i, s in enumerate(scores)]
    return scores, ["--scores", *paths, "--probes", *probes]


REQUIRED = {
    "--scores": [], "--probes": [], "--events": [], "--sigmas": ["0.5", "3", "11"],
    "--taus": ["0.1", "0.9", "81"], "--border": ["renormalise"], "--sigma": ["1.5"],
    "--tau": ["0.65"], "--passes": ["1"], "--tail": ["keep"], "--causal": ["no"],
    "--calibrate": ["yes"],
}  # fmt: skip


def calibrate(tmp_path, *more):
    given = [
        word for flag, words in REQUIRED.items() if flag not in more for word in (flag, *words)
    ]
    return main(["calibrate-locator", "--out", str(tmp_path / "locator.json"), *given, *more])


def test_calibration_is_the_best_frame_level_f1(scorer, validation, tmp_path):
    scores, flags = validation
    assert calibrate(tmp_path, *flags, "--events", "103-184", "") == 0
    found = read_json(tmp_path / "locator.json")
    frames = [np.repeat(s, 10) for s in scores]
    truth = [np.isin(np.arange(len(f)), np.arange(103, 184)) * (f is frames[0]) for f in frames]
    best = (0.0, 0.0, 0.0)
    for sigma in np.linspace(0.5, 3, 11):
        smoothed = np.concatenate([np.repeat(locator.smooth(s, sigma), 10) for s in scores])
        for tau in np.linspace(0.1, 0.9, 81):
            y, p = np.concatenate(truth).astype(bool), smoothed > tau
            f1 = 2 * (y & p).sum() / (y.sum() + p.sum())
            if f1 > best[0]:
                best = (f1, sigma, tau)
    assert (found["f1"], found["sigma"], found["tau"]) == best
    assert found["calibrated"] is True
    packed = tmp_path / "detector.h5"
    command = ["pack-detector", "--scorer", str(scorer[0]), "--out", str(packed)]
    assert main([*command, "--locator", str(tmp_path / "locator.json")]) == 0
    command = ["unpack-locator", "--detector", str(packed), "--out", str(tmp_path / "again.json")]
    detector = artifacts.read(packed, "detector")
    assert detector.provenance["locator"] == found
    assert detector.provenance["prompt_text"] == "Abnormal?"
    restored = Scorer.from_arrays("logistic", detector.arrays)
    assert restored.arrays()["coef"].tolist() == scorer[1].arrays()["coef"].tolist()
    assert detector["experts"].tolist() == EXPERTS.tolist()


def test_events_in_seconds_are_the_same(validation, tmp_path):
    _, flags = validation
    assert calibrate(tmp_path, *flags, "--events", "100-180", "") == 0
    frames = (tmp_path / "locator.json").read_bytes()
    assert calibrate(tmp_path, *flags, "--events", "4s-7.2s", "") == 0
    assert (tmp_path / "locator.json").read_bytes() == frames


@pytest.mark.parametrize("given", [True, False])
def test_without_annotated_events_the_fixed_values_are_taken(validation, tmp_path, capsys, given):
    more = [*validation[1], "--events", "", ""] if given else ["--scores", "--probes", "--events"]
    more += ["--sigma", "2", "--tau", "0.4"]
    assert calibrate(tmp_path, *more) == 0
    found = read_json(tmp_path / "locator.json")
    assert (found["sigma"], found["tau"], found["calibrated"]) == (2, 0.4, False)
    assert "note" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("events", "message"),
    [
        (["1-2"], "2, 2 and 1"),
        (["200-500", ""], "500"),
        (["9-5", ""], "ends before it starts"),
        (["x", ""], "'x'"),
    ],
)
def test_bad_events_are_refused(validation, tmp_path, capsys, events, message):
    assert calibrate(tmp_path, *validation[1], "--events", *events) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("grid", [["3", "1", "5"], ["0.5", "1", "0"], ["0.5", "1", "2.5"]])
@pytest.mark.parametrize("flag", ["--sigmas", "--taus"])
def test_bad_grids_are_refused(validation, tmp_path, capsys, grid, flag):
    flags = [*validation[1], "--events", "103-184", ""]
    assert calibrate(tmp_path, *flags, flag, *grid) == 2
    assert flag in capsys.readouterr().err


@pytest.mark.parametrize("words", [["every"], ["0.1", "0.9"], ["exact", "1", "2"]])
def test_bad_words_for_thresholds_are_refused(validation, tmp_path, capsys, words):
    flags = [*validation[1], "--events", "103-184", ""]
    assert calibrate(tmp_path, *flags, "--taus", *words) == 2
    assert "--taus" in capsys.readouterr().err


def test_a_grid_that_finds_nothing_is_a_warning(validation, tmp_path, capsys):
    flags = [*validation[1], "--events", "103-184", "", "--taus", "0.999", "0.9999", "3"]
    assert calibrate(tmp_path, *flags) == 0
    assert "hhvad: warning: no threshold of the grid" in capsys.readouterr().err
    found = read_json(tmp_path / "locator.json")
    assert (found["sigma"], found["tau"], found["calibrated"]) == (1.5, 0.65, False)
    assert calibrate(tmp_path, *flags[:-4], "--taus", "exact") == 0
    assert read_json(tmp_path / "locator.json")["calibrated"] is True


def test_scores_that_tell_nothing_are_a_warning(validation, tmp_path, capsys):
    """Every frame of the validation videos is anomalous: no threshold beats none at all."""
    flags = [*validation[1], "--events", "0-230", "0-120", "--taus", "exact"]
    assert calibrate(tmp_path, *flags) == 0
    assert "calling every frame anomalous" in capsys.readouterr().err


def localize(tmp_path, scores, probe):
    names = {"--out-scores": "f.tsv", "--out-events": "e.tsv", "--out-json": "e.json"}
    outputs = [word for flag, name in names.items() for word in (flag, str(tmp_path / name))]
    return main(
        ["localize-events", "--video", "v#1", "--scores", scores, "--probe", probe,
         "--locator", str(tmp_path / "locator.json"), "--method", "headhunt", *outputs]
    )  # fmt: skip


def test_events_are_cut_out(tmp_path):
    flags = ["--sigma", "0.5", "--tau", "0.5", "--border", "zero"]
    assert calibrate(tmp_path, *flags) == 0
    values = [0.1, 0.1, 0.9, 0.9, 0.8, 0.1, 0.1, 0.1, 0.95]
    scores = write_scores(tmp_path / "s.tsv", values, last=86)
    probe = write_probe(tmp_path / "p.json", 86, "30000/1001")
    assert localize(tmp_path, scores, probe) == 0
    smoothed = locator.smooth(values, 0.5, "zero")
    rows = read_tsv(tmp_path / "f.tsv")
    assert [float(row["smoothed"]) for row in rows] == smoothed.tolist()
    assert "".join(row["anomalous"] for row in rows) == "001110001"
    events = read_tsv(tmp_path / "e.tsv")
    assert [(e["video"], e["start_frame"], e["end_frame"]) for e in events] == [
        ("v#1", "20", "50"),
        ("v#1", "80", "86"),
    ]
    assert float(events[1]["end_seconds"]) == 86 * 1001 / 30000
    assert float(events[0]["peak_score"]) == smoothed[2:5].max()
    data = json.loads((tmp_path / "e.json").read_text())
    assert data["events"][0]["start_frame"] == 20
    assert data["locator"]["calibrated"] is False
    assert data["method"] == "headhunt"


def test_a_changed_video_is_noticed(tmp_path, capsys):
    assert calibrate(tmp_path) == 0
    scores = write_scores(tmp_path / "s.tsv", [0.1, 0.2])
    assert localize(tmp_path, scores, write_probe(tmp_path / "p.json", 30)) == 2
    assert "end at frame 20" in capsys.readouterr().err
    damaged = tmp_path / "p.json"
    damaged.write_text(damaged.read_text().replace('"fps_fraction": "25"', '"fps_fraction": "0/0"'))
    assert localize(tmp_path, scores, str(damaged)) == 2
    assert "p.json: not a probe" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["nan", "", "abc"])
def test_a_bad_score_is_refused(tmp_path, capsys, text):
    assert calibrate(tmp_path) == 0
    path = tmp_path / "s.tsv"
    path.write_text("\t".join(COLUMNS) + f"\n0\t0\t10\t{text}\n")
    assert localize(tmp_path, str(path), write_probe(tmp_path / "p.json", 10)) == 2
    assert "s.tsv" in capsys.readouterr().err


def test_show_detector_advises_nothing_about_another_file(scorer, tmp_path, capsys):
    for path in (scorer[0], tmp_path / "s.tsv"):
        if path.suffix == ".tsv":
            path.write_text("no detector")
        assert main(["show-detector", str(path)]) == 2
        error = capsys.readouterr().err
        assert "delete" not in error
        assert "show-detector reads files of pack-detector" in error
