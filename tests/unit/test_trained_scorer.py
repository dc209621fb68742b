"""Holmes-VAU's trained scorer: the UR-DMU head in numpy, its conversion, its scores."""

from __future__ import annotations

import ast
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from hhvad.artifacts import hdf5, scores
from hhvad.cli import main
from hhvad.errors import ConfigError, DataError, ModelError
from hhvad.methods.scorer import network
from hhvad.mllm import train_scorer
from hhvad.mllm.convert import convert_scorer
from hhvad.mllm.train_scorer import Settings
from hhvad.study import _method


def by_recipe(shared: Path) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """The vectors, and the weights that their README describes."""
    vectors = dict(np.load(shared / "methods/urdmu_dev.npz"))
    weights = {}
    for i, (name, text) in enumerate(zip(vectors["names"], vectors["shapes"], strict=True)):
        shape = ast.literal_eval(str(text))
        values = np.random.default_rng([int(vectors["seed"]), i]).standard_normal(shape)
        values *= 1 / np.sqrt(np.prod(shape[1:])) if len(shape) > 1 else 0.1
        weights[str(name)] = (values + str(name).endswith("norm.weight")).astype(np.float32)
    return vectors, weights


def random_head(width: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        name: torch.randn(shape, generator=generator) / 10
        for name, shape in network.shapes(width).items()
    }


def test_scores_are_those_of_the_official_head(shared: Path):
    vectors, weights = by_recipe(shared)
    for case in range(3):
        found = network.score(weights, vectors[f"features_{case}"])
        np.testing.assert_allclose(found, vectors[f"scores_{case}"], atol=1e-5)


def test_the_official_head_has_as_many_parameters():
    assert sum(int(np.prod(shape)) for shape in network.shapes(1024).values()) == 6_492_929


def test_a_pth_is_converted_once(tmp_path: Path):
    head = random_head(96)
    torch.save({"state_dict": {f"module.{k}": v for k, v in head.items()}}, tmp_path / "a.pth")
    assert main(["convert-scorer", str(tmp_path / "a.pth"), str(tmp_path / "a.safetensors")]) == 0
    read = network.read(tmp_path / "a.safetensors")
    assert set(read) == set(head)
    assert all(np.array_equal(read[name], head[name]) for name in head)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda h: h.pop("cls_head.mlp.2.bias"), "'cls_head.mlp.2.bias' of the UR-DMU head is mis"),
        (lambda h: h.update(extra=torch.zeros(1)), "'extra' is none of a UR-DMU head"),
        (
            lambda h: h.update({"cls_head.mlp.2.bias": torch.zeros(2)}),
            r"has shape \[2\], not \[1\]",
        ),
        (lambda h: h.update(extra=3), "no set of named tensors"),
    ],
)
def test_other_parameters_are_refused(tmp_path: Path, change, message):
    head = random_head(8)
    change(head)
    torch.save(head, tmp_path / "a.pth")
    with pytest.raises(ModelError, match=message):
        convert_scorer(tmp_path / "a.pth", tmp_path / "a.safetensors")
    assert not (tmp_path / "a.safetensors").exists()


def test_nothing_in_a_pth_is_run(tmp_path: Path):
    torch.save({"path": Path("x")}, tmp_path / "a.pth")  # a class, not a tensor
    with pytest.raises(ModelError, match="cannot be read as plain tensors"):
        convert_scorer(tmp_path / "a.pth", tmp_path / "a.safetensors")
    (tmp_path / "b.pth").write_text("text")
    with pytest.raises(ModelError, match="cannot be read as plain tensors"):
        convert_scorer(tmp_path / "b.pth", tmp_path / "a.safetensors")


def test_vectors_of_another_width_are_refused():
    head = {name: values.numpy() for name, values in random_head(8).items()}
    with pytest.raises(DataError, match=r"the scorer reads \[frames, 8\]"):
        network.score(head, np.zeros((3, 9), np.float32))


def test_from_a_real_clip_to_scores(shared: Path, tmp_path: Path):
    clip = str(shared / "clips/car_accident.mp4")
    probe, frames = f"--probe={tmp_path / 'p.json'}", tmp_path / "f.h5"
    common = ["--video=v", f"--path={clip}", "--timeout=60"]
    assert main(["probe-video", *common, f"--out={tmp_path / 'p.json'}"]) == 0
    words = ["--view=grid", "--frames-per-segment=1", "--segment-length=16", "--threads=1"]
    words += ["--size", "56", "56", probe, f"--out={frames}"]
    assert main(["sample-frames", *common, *words]) == 0
    model = ["--model=demo", "--model-name=demo", "--revision=", "--dtype=float32", "--device=cpu"]
    model += [
        "--batch-size=3",
        "--threads=1",
        "--commit-file=none",
        "--resident=no",
        "--idle-timeout=9",
    ]
    out = tmp_path / "v.h5"
    embed = ["embed-frames", "--vectors=class", f"--frames={frames}", *model, f"--out={out}"]
    assert main(embed) == 0
    vectors = hdf5.read(out, "vectors", ("vectors",))["vectors"]
    assert vectors.shape == (8, 96)
    torch.save(random_head(96), tmp_path / "a.pth")
    convert_scorer(tmp_path / "a.pth", tmp_path / "a.safetensors")
    head = [f"--weights={tmp_path / 'a.safetensors'}", "--stride=16", probe]
    assert main(["score-vectors", f"--vectors={out}", *head, f"--out={tmp_path / 's.tsv'}"]) == 0
    found = scores.read(tmp_path / "s.tsv")
    assert found.bounds[-1].tolist() == [112, 120]
    wanted = network.score(network.read(tmp_path / "a.safetensors"), vectors)
    np.testing.assert_allclose(found.scores, wanted, atol=1e-6)


def test_weights_that_are_not_there_are_refused(tmp_path: Path):
    from study import make_study

    from hhvad.study import Study

    study = make_study(tmp_path / "study")
    config = study.config
    config["videos"] = str(study.folder / "config/videos.tsv")
    config["methods"] = {"scorer": {"kind": "scorer", "model": "demo", "weights": "absent"}}
    with pytest.raises(ConfigError, match=r"methods.scorer.weights: absent is no file"):
        Study.load(config, [])


# Training


SETTINGS = Settings(
    steps=60, batch=4, snippets=32, hidden=16, memory=4, rate=3e-3, decay=5e-5, dropout=0.2, seed=3
)


def drawn(anomalous: bool, count: int, seed: int = 0) -> list[tuple[np.ndarray, np.ndarray]]:
    """Class vectors [T, 8] and labels [T]: anomalous videos have a stretch unlike the rest."""
    rng = np.random.default_rng([seed, int(anomalous)])
    found = []
    for _ in range(count):
        vectors = rng.normal(size=(int(rng.integers(30, 60)), 8)).astype(np.float32)
        labels = np.zeros(len(vectors), bool)
        if anomalous:
            start = int(rng.integers(len(vectors) - 8))
            labels[start : start + 8] = True
        vectors[labels, :3] += 4
        found.append((vectors, labels))
    return found


def videos(anomalous: bool, count: int = 20) -> list[np.ndarray]:
    return [vectors for vectors, _ in drawn(anomalous, count)]


def trained(folder: Path, settings: Settings = SETTINGS, **how) -> Path:
    train_scorer.train(
        videos(False), videos(True), settings, folder / "a.safetensors", folder / "a.tsv",
        folder / "state", key="k", threads=1, every=20, **how,
    )  # fmt: skip
    return folder / "a.safetensors"


def test_training_and_scoring_are_one_network():
    weights = {name: values.float() for name, values in random_head(8).items()}
    vectors = np.random.default_rng(0).normal(size=(40, 8)).astype(np.float32)
    x = train_scorer.encode(weights, torch.from_numpy(vectors)[None], 0.0)
    held = [train_scorer.recall(weights, name, x)[1] for name in "AN"]
    made = sum(train_scorer._linear(weights, "encoder_mu.0", one) for one in held)
    inner = train_scorer._linear(weights, "cls_head.mlp.0", torch.cat([x, made], dim=-1)).relu()
    found = torch.sigmoid(train_scorer._linear(weights, "cls_head.mlp.2", inner))[0, :, 0]
    want = network.score({name: v.numpy() for name, v in weights.items()}, vectors)
    np.testing.assert_allclose(found, want, atol=1e-5)


def test_snippets_by_hand():
    vectors = np.arange(6, dtype=np.float32)[:, None]
    np.testing.assert_array_equal(train_scorer.snippets(vectors, 3)[:, 0], [0.5, 2.5, 4.5])
    np.testing.assert_array_equal(train_scorer.snippets(vectors[:2], 4)[:, 0], [0, 0, 1, 1])


def test_the_loss_by_hand():
    one = torch.tensor([[1.0, 0.0]])
    passed = train_scorer.Passed(
        scores=torch.tensor([[0.2, 0.1], [0.6, 0.9]]),  # normal, anomalous
        own=(torch.tensor([[0.8, 0.4]]), torch.tensor([[0.3, 0.7]])),
        other=(torch.tensor([[0.1, 0.3]]), torch.tensor([[0.2, 0.6]])),
        ordinary=one,
        flagged=3 * one,
        hidden=torch.tensor([[0.0, 2.0]]),
        mean=torch.ones(1, 2, 2),
        spread=torch.zeros(1, 2, 2),
        norms=(torch.tensor([10.0]), torch.tensor([30.0])),
    )
    classes = -(np.log(0.8) + np.log(0.9)) / 2
    memories = -np.log(0.7) - np.log(0.8) - np.log([0.8, 0.4]).mean() - np.log([0.9, 0.7]).mean()
    triplets = np.sqrt(2) - 0 + 1
    want = classes + 0.1 * memories + 0.1 * triplets + 0.001 * 1.0 + 0.0001 * 80
    assert float(train_scorer.loss_of(passed)) == pytest.approx(want, abs=1e-4)


def test_a_head_learns_where_from_labels_alone(tmp_path: Path):
    weights = network.read(trained(tmp_path, replace(SETTINGS, steps=200)))
    unseen = [*drawn(True, 10, seed=1), *drawn(False, 10, seed=1)]
    found = np.concatenate([network.score(weights, vectors) for vectors, _ in unseen])
    assert roc_auc_score(np.concatenate([labels for _, labels in unseen]), found) > 0.9


def test_an_interrupted_training_of_a_head_gives_the_same_bytes(tmp_path: Path):
    whole = trained(tmp_path / "whole")

    def stop(done: int, total: int, loss: float) -> None:
        if done == 45:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "parts", progress=stop)
    steps: list[int] = []
    parts = trained(tmp_path / "parts", progress=lambda done, total, loss: steps.append(done))
    assert steps[0] == 41
    assert whole.read_bytes() == parts.read_bytes()
    table = [one / "a.tsv" for one in (whole.parent, parts.parent)]
    assert table[0].read_bytes() == table[1].read_bytes()
    assert len(table[0].read_text().splitlines()) == 4


def test_a_class_without_a_video_is_refused(tmp_path: Path):
    with pytest.raises(DataError, match="normal and anomalous"):
        train_scorer.train(
            videos(False), [], SETTINGS, tmp_path / "a", tmp_path / "b", tmp_path / "c",
            key="k", threads=1,
        )  # fmt: skip


@pytest.mark.parametrize("keys", [{}, {"weights": "a", "train": {}}])
def test_one_head_is_given_or_trained(keys):
    with pytest.raises(ConfigError, match="give `weights` of a trained head, or `train`"):
        _method("mine", {"kind": "scorer", "model": "m", **keys}, "config.yaml")
