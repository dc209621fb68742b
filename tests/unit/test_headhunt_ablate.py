"""HeadHunt's variants: which heads they take, and what their table says of made-up scores."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from hhvad.errors import DataError
from hhvad.localization.locator import Locator
from hhvad.methods.headhunt import ablate
from hhvad.methods.headhunt.scorer import Scorer
from hhvad.records import HeadId

PROMPTS = ["direct", "role"]
# S [2 prompts, 2 layers, 3 heads]: (1, 2) is best under both, (0, 0) under `direct` only.
SALIENCY = np.array([[[0.9, 0.1, 0.0], [0.2, 0.3, 0.8]], [[0.1, 0.1, np.nan], [0.4, 0.3, 0.9]]])
GIVEN = {"count": 1, "penalty": 0.5, "kind": "logistic"}


def chosen(**changes):
    more = {**GIVEN, "counts": [1, 2], "penalties": [0, 1], "seed": 7, **changes}
    return ablate.variants(SALIENCY, PROMPTS, "direct", **more)


def of(part, variants):
    return [one for one in variants if one.part == part]


def test_which_heads_each_variant_has():
    found = chosen()
    assert found[0].heads == ((1, 2),)
    (layer,) = of(ablate.LAYER, found)
    assert layer.heads == ((1, 0), (1, 1), (1, 2))
    assert [one.heads for one in of(ablate.WORDING, found)] == [((0, 0),), ((1, 2),)]
    assert {one.kind for one in of(ablate.SCORER, found)} == {"svm", "mlp"}
    assert len(of(ablate.SWEEP, found)) == 4
    assert {one.prompt for one in found} == {"direct"}


def test_random_heads_are_seeded_and_have_an_rss():
    draws = of(ablate.RANDOM, chosen(count=3))
    assert len(draws) == 20
    assert draws == of(ablate.RANDOM, chosen(count=3))
    assert draws != of(ablate.RANDOM, chosen(count=3, seed=8))
    for one in draws:
        assert len(set(one.heads)) == 3
        assert HeadId(0, 2) not in one.heads


def test_more_experts_than_heads_is_refused():
    with pytest.raises(DataError, match="6 experts"):
        chosen(count=6)


@pytest.fixture
def fitted():
    rng = np.random.default_rng(1)
    labels = np.arange(12) % 2
    variants = chosen()
    heads = ablate.all_heads(variants)
    features = rng.normal(size=(12, len(heads), 4)).astype(np.float32)
    features[labels == 1, heads.tolist().index([1, 2])] += 3
    return features, labels, ablate.fit(variants, {"direct": features}, labels, seed=0, share=1)


def test_a_variant_scores_as_its_scorer_alone(fitted):
    features, labels, found = fitted
    again = ablate.Fitted.restore(found.described(), found.arrays())
    assert again.variants == found.variants
    scores = again.score({"direct": features})
    heads = found.heads.tolist()
    for one, values in zip(found.variants, scores, strict=True):
        columns = features[:, [heads.index(list(head)) for head in one.heads]]
        alone = Scorer(one.kind, 0).fit(columns, labels).predict_proba(columns)
        np.testing.assert_array_equal(values, alone)


def rows_of(fitted):
    features, _, found = fitted
    scores = found.score({"direct": features})
    bounds = np.array([[i * 10, (i + 1) * 10] for i in range(3)])
    videos = [
        ablate.Tested(
            video=f"v{i}",
            label=label,
            camera="",
            events=((10, 20),) if label == "anomaly" else (),
            bounds=bounds,
            scores=tuple(values[3 * i : 3 * i + 3] for values in scores),
        )
        for i, label in enumerate(["anomaly", "anomaly", "normal", "normal"])
    ]
    rows = ablate.table(found.variants, videos, Locator(1.0, 0.4), resamples=20, seed=0)
    return videos, [dict(zip(ablate.COLUMNS, row, strict=True)) for row in rows], rows


def test_the_table(fitted):
    videos, rows, raw = rows_of(fitted)
    labels = np.concatenate(
        [np.isin(np.arange(30), range(10, 20)) & bool(one.events) for one in videos]
    )
    smooth = Locator(1.0, 0.4).smooth
    for row, at in ((rows[0], 0), (rows[1], 1)):
        scores = np.concatenate([np.repeat(smooth(one.scores[at]), 10) for one in videos])
        assert row["auc"] == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
    (unsmoothed,) = (row for row in rows if row["part"] == ablate.SMOOTHING)
    scores = np.concatenate([np.repeat(one.scores[0], 10) for one in videos])
    assert unsmoothed["auc"] == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
    (random,) = (row for row in rows if row["part"] == ablate.RANDOM)
    draws = range(2, 22)
    values = [
        roc_auc_score(
            labels, np.concatenate([np.repeat(smooth(one.scores[at]), 10) for one in videos])
        )
        for at in draws
    ]
    assert random["auc"] == pytest.approx(np.mean(values), abs=1e-12)
    assert random["auc_spread"] == pytest.approx(np.std(values, ddof=1), abs=1e-12)
    text = ablate.markdown(raw, ablate.NOTES)
    assert "| the method | the method | 1 |" in text
    assert "do not depend on it" in text


def test_the_oracle_is_the_prompt_of_largest_auc_and_flagged():
    found = ablate.prompt_variants(SALIENCY, PROMPTS, count=1, kind="logistic")
    experts = [("direct", ((0, 0),)), ("role", ((1, 2),))]
    assert [(one.prompt, one.heads) for one in found] == experts
    bounds = np.array([[0, 10], [10, 20]])

    def video(name, label, direct, role):
        events = ((10, 20),) if label == "anomaly" else ()
        scores = (np.array(direct), np.array(role))
        return ablate.Tested(name, label, "", events, bounds, scores)

    # `direct` ranks 20 of 30 normal frames below the 10 anomalous ones, `role` all of them.
    videos = [
        video("a", "anomaly", [0.9, 0.6], [0.1, 0.8]),
        video("b", "normal", [0.1, 0.2], [0.2, 0.3]),
    ]
    rows = ablate.oracle_table(found, videos, Locator(1e-3, 0.5), resamples=20, seed=0)
    first, *alone = [dict(zip(ablate.COLUMNS, row, strict=True)) for row in rows]
    assert (first["part"], first["variant"], first["auc"]) == (ablate.ORACLE, "role", 1.0)
    assert first["note"] == ablate.FLAG
    assert first["published_auc_ucf_crime"] == pytest.approx(0.8711)
    assert [(row["variant"], row["note"]) for row in alone] == [("direct", ""), ("role", "")]
    assert alone[0]["auc"] == pytest.approx(2 / 3, abs=1e-12)


def test_the_oracle_needs_anomalous_frames():
    found = ablate.prompt_variants(SALIENCY, PROMPTS, count=1, kind="logistic")
    calm = ablate.Tested("b", "normal", "", (), np.array([[0, 10]]), (np.ones(1), np.ones(1)))
    with pytest.raises(DataError, match="oracle prompt"):
        ablate.oracle_table(found, [calm], Locator(1.0, 0.5), resamples=20, seed=0)


def test_tau_moves_f1_but_neither_auc_nor_ap(fitted):
    _, rows, _ = rows_of(fitted)
    at_tau = [rows[0], *(row for row in rows if row["part"] == ablate.TAU)]
    assert len(at_tau) == 4
    for name in ("auc", "ap_step"):
        assert len({row[name] for row in at_tau}) == 1
    assert len({row["f1_at_tau"] for row in at_tau}) > 1


def test_published_numbers_stand_beside_their_rows(fitted):
    _, rows, _ = rows_of(fitted)
    found = {(r["part"], r["variant"]): r["published_auc_ucf_crime"] for r in rows}
    assert found[ablate.TAU, "tau 0.25"] == pytest.approx(0.7091)
    assert found[ablate.SCORER, "svm"] == pytest.approx(0.8495)
    assert found[ablate.WORDING, "direct"] == pytest.approx(0.8186)
    assert found[ablate.WORDING, "role"] is None
