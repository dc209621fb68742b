"""score-saliency, identify-heads and fit-scorer on small made-up captures."""

from __future__ import annotations

import numpy as np
import pytest
from probes import write_probe

from hhvad.artifacts import hdf5 as artifacts
from hhvad.cli import main
from hhvad.files import read_tsv, write_tsv
from hhvad.methods.headhunt import rhi, saliency
from hhvad.sheet import COLUMNS

PROMPTS = {"direct": "Is this abnormal?", "role": "You watch a camera. Is this abnormal?"}
LABELS = ["normal", "anomaly"] * 5
SHAPE = (1, 2, 3, 6)  # S, L, H, D
EXPERT = (1, 2)


REQUIRED = {
    "score-saliency": {
        "--metrics": ["lda", "kl", "mmd", "nmi"], "--shrinkage": ["none"], "--threads": ["1"],
    },
    "identify-heads": {
        "--count": ["5"], "--penalty": ["0.5"], "--bootstrap": ["0"], "--seed": ["0"],
        "--threads": ["1"],
    },
    "fit-scorer": {"--kind": ["logistic"], "--seed": ["42"], "--share": ["1"]},
    "label-segments": {"--segment-length": ["48"]},
}  # fmt: skip


def run(command: list[str]) -> int:
    """The command with the paper's values for the flags that are not given."""
    flags = REQUIRED[command[0]].items()
    more = [word for flag, words in flags if flag not in command for word in (flag, *words)]
    return main([*command, *more])


def capture(path, rng, prompt="direct", label="normal", video=None, **changes):
    features = rng.normal(size=changes.pop("shape", SHAPE)).astype(np.float32)
    if label == "anomaly":
        features[:, EXPERT[0], EXPERT[1]] += 3
    features = changes.pop("edit", lambda f: f)(features)
    provenance = {
        "model": "tiny",
        "revision": None,
        "dtype": "float32",
        "view": "video",
        "sampling": {"frames_per_segment": 8},
        "prompt": prompt,
        "prompt_text": PROMPTS[prompt],
        "video": video or path.stem,
        **changes,
    }
    segments = np.array([[i * 48, (i + 1) * 48] for i in range(len(features))])
    artifacts.write(path, "features", {"features": features, "segments": segments}, provenance)
    return str(path)


@pytest.fixture
def study(tmp_path):
    """Captures of ten videos under two prompts: paths by prompt."""
    rng = np.random.default_rng(0)
    return {
        prompt: [
            capture(tmp_path / prompt / f"v{i}.h5", rng, prompt, label)
            for i, label in enumerate(LABELS)
        ]
        for prompt in PROMPTS
    }


def score(paths, out, *more, labels=LABELS):
    command = ["score-saliency", "--features", *paths, "--labels", *labels, "--out", str(out)]
    return run([*command, *more])


@pytest.fixture
def saliencies(study, tmp_path):
    paths = [tmp_path / f"{prompt}.saliency.h5" for prompt in study]
    for prompt, path in zip(study, paths, strict=True):
        assert score(study[prompt], path) == 0
    return [str(path) for path in paths]


def test_saliency_holds_what_the_library_computes(study, saliencies):
    file = artifacts.read(saliencies[0], "saliency")
    features = np.concatenate(
        [artifacts.read(path, "features")["features"] for path in study["direct"]]
    )
    expected = saliency.score_heads(features, [label == "anomaly" for label in LABELS])
    assert np.array_equal(file["saliency"], expected)
    assert file.provenance["prompt_text"] == PROMPTS["direct"]
    assert file.provenance["samples"] == {"normal": 5, "anomaly": 5}
    assert file.provenance["problems"] == []


def test_metrics_and_shrinkage_are_options(study, tmp_path):
    out = tmp_path / "s.h5"
    more = ["--metrics", "nmi", "lda", "--shrinkage", "ledoit-wolf", "--threads", "2"]
    assert score(study["direct"], out, *more) == 0
    file = artifacts.read(out, "saliency")
    assert file["saliency"].shape == (2, 2, 3)
    assert file.provenance["metrics"] == ["nmi", "lda"]


def test_same_input_same_bytes(study, tmp_path):
    for name in ("a.h5", "b.h5"):
        assert score(study["role"], tmp_path / name) == 0
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


def test_a_singular_lda_is_noted(study, tmp_path, capsys):
    labels = LABELS[:6]
    assert score(study["direct"][:6], tmp_path / "s.h5", labels=labels) == 0
    assert "singular" in capsys.readouterr().err
    assert artifacts.read(tmp_path / "s.h5", "saliency").provenance["lda_singular"] is True


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (LABELS[:-1], "--labels has 9 values"),
        (["normal"] * 9 + ["odd"], "'odd'"),
        (["normal"] * 9 + ["anomaly"], "9 normal and 1 anomaly"),
    ],
)
def test_bad_labels_are_refused(study, tmp_path, capsys, labels, message):
    assert score(study["direct"], tmp_path / "s.h5", labels=labels) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "s.h5").exists()


def test_captures_of_two_models_are_refused(study, tmp_path, capsys):
    other = capture(tmp_path / "x.h5", np.random.default_rng(1), model="large")
    assert score([*study["direct"][:-1], other], tmp_path / "s.h5") == 2
    error = capsys.readouterr().err
    assert "'large'" in error
    assert "'tiny'" in error
    assert "x.h5" in error


def test_captures_of_several_segments_need_their_labels(study, tmp_path, capsys):
    other = capture(tmp_path / "x.h5", np.random.default_rng(1), shape=(3, *SHAPE[1:]))
    assert score([*study["direct"][:-1], other], tmp_path / "s.h5") == 2
    assert "3 segments" in capsys.readouterr().err


def test_segments_are_labelled_by_a_table(tmp_path, capsys):
    rng = np.random.default_rng(2)
    paths = [
        capture(tmp_path / f"{name}.h5", rng, shape=(4, *SHAPE[1:]), view="segments")
        for name in "ab"
    ]
    table, out = tmp_path / "labels.tsv", tmp_path / "s.h5"
    rows = [("a", 0, "normal"), ("a", 48, "anomaly"), ("b", 0, "normal"), ("b", 96, "anomaly")]
    text = "".join(f"{v}\t{s}\t{s + 48}\t{label}\n" for v, s, label in rows)
    table.write_text("video\tstart_frame\tend_frame\tlabel\n" + text)
    command = ["score-saliency", "--features", *paths, "--segment-labels", str(table)]
    assert run([*command, "--out", str(out)]) == 0
    picked = np.stack(
        [artifacts.read(tmp_path / f"{v}.h5", "features")["features"][s // 48] for v, s, _ in rows]
    )
    expected = saliency.score_heads(picked, [0, 1, 0, 1])
    assert np.array_equal(artifacts.read(out, "saliency")["saliency"], expected, equal_nan=True)
    table.write_text("video\tstart_frame\tend_frame\tlabel\na\t1\t48\tnormal\n")
    capsys.readouterr()
    assert run([*command, "--out", str(out)]) == 2
    assert "a 1 48" in capsys.readouterr().err


def identify(saliencies, tmp_path, *more):
    command = ["identify-heads", "--saliency", *saliencies, "--count", "2"]
    out, table = str(tmp_path / "experts.h5"), str(tmp_path / "experts.tsv")
    return run([*command, "--out", out, "--table", table, *more])


def test_experts_are_found(study, saliencies, tmp_path):
    assert identify(saliencies, tmp_path) == 0
    file = artifacts.read(tmp_path / "experts.h5", "experts")
    assert tuple(file["experts"][0]) == EXPERT
    metrics = np.stack([artifacts.read(path, "saliency")["saliency"] for path in saliencies])
    assert np.array_equal(file["rss"], rhi.robust_saliency(rhi.normalise(metrics)))
    assert file.provenance["prompts"] == list(PROMPTS)
    assert file.provenance["prompt_texts"] == PROMPTS
    rows = read_tsv(tmp_path / "experts.tsv")
    assert [row["rank"] for row in rows] == ["1", "2"]
    assert float(rows[0]["rss"]) == file["rss"][EXPERT]
    assert rows[0]["selected_in_bootstrap"] == ""


def test_bootstrap_counts_how_often_a_head_is_chosen(study, saliencies, tmp_path):
    features = [path for prompt in study for path in study[prompt]]
    more = ["--features", *features, "--labels", *LABELS, "--bootstrap", "8", "--seed", "3"]
    assert identify(saliencies, tmp_path, *more) == 0
    file = artifacts.read(tmp_path / "experts.h5", "experts")
    assert file["selected"][EXPERT] == 1
    assert file["selected"].sum() == pytest.approx(2)
    rows = read_tsv(tmp_path / "experts.tsv")
    assert len(rows) >= 2
    assert all(float(row["selected_in_bootstrap"]) > 0 for row in rows[2:])


def test_bootstrap_needs_the_same_videos(study, saliencies, tmp_path, capsys):
    features = [*study["direct"], *reversed(study["role"])]
    more = ["--features", *features, "--labels", *LABELS, "--bootstrap", "2"]
    assert identify(saliencies, tmp_path, *more) == 2
    assert "in its order" in capsys.readouterr().err
    assert identify(saliencies, tmp_path, "--bootstrap", "2") == 2
    assert "--features of prompt direct" in capsys.readouterr().err


def test_one_prompt_is_not_enough(saliencies, tmp_path, capsys):
    assert identify(saliencies[:1], tmp_path) == 2
    assert "two or more prompts" in capsys.readouterr().err


def test_a_head_without_saliency_is_excluded_by_name(study, tmp_path, capsys):
    def spoil(features):
        features[0, 0, 1, 2] = np.nan
        return features

    bad = capture(tmp_path / "v9.h5", np.random.default_rng(5), "role", "anomaly", "v9", edit=spoil)
    first, second = tmp_path / "a.h5", tmp_path / "b.h5"
    assert score(study["direct"], first) == 0
    assert score([*study["role"][:-1], bad], second) == 0
    assert "(0,1)" in capsys.readouterr().err
    assert identify([str(first), str(second)], tmp_path) == 0
    file = artifacts.read(tmp_path / "experts.h5", "experts")
    assert np.isnan(file["rss"][0, 1])
    assert np.isfinite(np.delete(file["rss"].ravel(), 1)).all()
    reason = "NaN or infinite features in 1 samples"
    assert file.provenance["excluded"] == [[0, 1, "role", reason]]


def test_ties_are_named(tmp_path, capsys):
    arrays = {"saliency": np.array([[[0.0, 1.0, 1.0, 1.0]]])}
    paths = []
    for prompt in PROMPTS:
        provenance = {"prompt": prompt, "prompt_text": "", "problems": [], "videos": []}
        paths.append(str(tmp_path / f"{prompt}.h5"))
        artifacts.write(paths[-1], "saliency", arrays, provenance)
    assert identify(paths, tmp_path) == 0
    assert "same RSS" in capsys.readouterr().err
    experts = artifacts.read(tmp_path / "experts.h5", "experts")["experts"]
    assert experts.tolist() == [[0, 1], [0, 2]]


@pytest.mark.parametrize("kind", ["logistic", "svm", "mlp"])
def test_scorer_is_fitted_on_the_experts(study, saliencies, tmp_path, kind):
    assert identify(saliencies, tmp_path) == 0
    experts = str(tmp_path / "experts.h5")
    out = tmp_path / "scorer.h5"
    command = ["fit-scorer", "--features", *study["direct"], "--labels", *LABELS]
    assert run([*command, "--experts", experts, "--kind", kind, "--out", str(out)]) == 0
    file = artifacts.read(out, "scorer")
    assert file["experts"].tolist() == artifacts.read(experts, "experts")["experts"].tolist()
    assert file.provenance["samples"] == {"normal": 5, "anomaly": 5}
    assert file.provenance["prompt"] == "direct"
    assert file.provenance["kind"] == kind


def test_scorer_refuses_other_captures(study, saliencies, tmp_path, capsys):
    assert identify(saliencies, tmp_path) == 0
    other = [
        capture(tmp_path / f"w{i}.h5", np.random.default_rng(i), dtype="bfloat16")
        for i in range(len(LABELS))
    ]
    experts, out = str(tmp_path / "experts.h5"), str(tmp_path / "scorer.h5")
    command = ["fit-scorer", "--features", *other, "--labels", *LABELS]
    assert run([*command, "--experts", experts, "--out", out]) == 2
    assert "bfloat16" in capsys.readouterr().err


@pytest.fixture
def segmented(tmp_path):
    """Captures of six videos of four segments; the last segment of each even one is anomalous."""
    rng = np.random.default_rng(3)
    rows = []

    def edit(number):
        def change(features):
            features[3, EXPERT[0], EXPERT[1]] += 3 * (number % 2 == 0)
            return features

        return change

    paths = {}
    for prompt in PROMPTS:
        paths[prompt] = [
            capture(
                tmp_path / "seg" / prompt / f"v{i}.h5", rng, prompt, shape=(4, *SHAPE[1:]),
                view="segments", edit=edit(i),
            )
            for i in range(6)
        ]  # fmt: skip
    for i in range(6):
        for segment in (0, 1, 3):  # the third is in between, so left out
            label = "anomaly" if segment == 3 and i % 2 == 0 else "normal"
            rows.append((f"v{i}", segment * 48, segment * 48 + 48, label))
    table = tmp_path / "segments.tsv"
    write_tsv(table, ("video", "start_frame", "end_frame", "label"), rows)
    return paths, str(table)


def test_segments_are_samples_from_saliency_to_scorer(segmented, tmp_path):
    paths, table = segmented
    files = []
    for prompt in paths:
        files.append(str(tmp_path / f"{prompt}.h5"))
        command = ["score-saliency", "--features", *paths[prompt], "--segment-labels", table]
        assert run([*command, "--shrinkage", "ledoit-wolf", "--out", files[-1]]) == 0
    assert artifacts.read(files[0], "saliency").provenance["samples"] == {
        "normal": 15,
        "anomaly": 3,
    }
    experts, scorer = tmp_path / "experts.h5", tmp_path / "scorer.h5"
    every = [path for prompt in paths for path in paths[prompt]]
    command = ["identify-heads", "--saliency", *files, "--features", *every, "--count", "1"]
    command += ["--segment-labels", table, "--bootstrap", "3", "--out", str(experts)]
    command += ["--table", str(tmp_path / "experts.tsv")]
    assert run(command) == 0
    chosen = artifacts.read(experts, "experts")
    assert chosen["experts"].tolist() == [list(EXPERT)]
    assert chosen["selected"].sum() == pytest.approx(1)
    command = ["fit-scorer", "--features", *paths["direct"], "--segment-labels", table]
    assert run([*command, "--experts", str(experts), "--out", str(scorer)]) == 0
    samples = artifacts.read(scorer, "scorer").provenance["samples"]
    assert samples == {"normal": 15, "anomaly": 3}


def test_a_bootstrap_of_segments_draws_whole_videos(monkeypatch):
    seen = []

    def score(features, labels, **_):
        seen.append(features[:, 0, 0, 0].tolist())
        return np.random.default_rng(0).random((4, 1, 2))

    monkeypatch.setattr(rhi.saliency, "score_heads", score)
    videos = np.array([0, 0, 1, 1, 1, 2, 3, 3])
    features = np.arange(8.0).reshape(8, 1, 1, 1) * np.ones((1, 1, 2, 1))
    labels = [0, 1, 0, 0, 1, 0, 0, 0]
    rhi.selection_frequency([features, features], labels, k=1, count=5, videos=videos)
    blocks = {0.0: [0, 1], 2.0: [2, 3, 4], 5.0: [5], 6.0: [6, 7]}
    assert len(seen) == 10
    for rows in seen:
        left = list(rows)
        while left:
            block = blocks[left[0]]
            assert left[: len(block)] == block
            left = left[len(block) :]


def test_label_segments(tmp_path):
    rows = [
        ("a", "a.mp4", "calibration", "anomaly", "", "60-120"),
        ("b", "b.mp4", "calibration", "normal", "", ""),
        ("c", "c.mp4", "test", "normal", "", ""),
    ]
    write_tsv(tmp_path / "sheet.tsv", COLUMNS, rows)
    for name, frames in (("a", 150), ("b", 50)):
        write_probe(tmp_path / f"{name}.json", frames, 25)
    command = ["label-segments", "--sheet", str(tmp_path / "sheet.tsv"), "--out"]
    command += [str(tmp_path / "out.tsv"), "--probes-folder", str(tmp_path)]
    assert run(command) == 0
    found = [tuple(row.values()) for row in read_tsv(tmp_path / "out.tsv")]
    assert found == [
        ("a", "0", "48", "normal"),
        ("a", "48", "96", "anomaly"),  # 36 of 48; then exactly half; then nothing
        ("a", "96", "144", "anomaly"),
        ("a", "144", "150", "normal"),
        ("b", "0", "48", "normal"),
        ("b", "48", "50", "normal"),
    ]
