"""What each part of HeadHunt is worth: other heads, scorers, smoothings and thresholds.

A variant is a choice of heads and a scorer on them. All variants of a method are fitted together
(`fit`) and score a video together (`Fitted.score`), so that its features are read once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hhvad import registry
from hhvad.errors import DataError
from hhvad.evaluation import evaluate, published
from hhvad.localization.locator import Locator
from hhvad.methods.headhunt import rhi
from hhvad.methods.headhunt.scorer import GROUP, KINDS, Scorer, fitting_samples
from hhvad.records import HeadId

Floats = NDArray[np.float64]

DRAWS = 20
TAUS = (0.25, 0.5, 0.75)
UNSMOOTHED = 1e-3  # a sigma so small that smoothing changes nothing

METHOD, LAYER, RANDOM, WORDING = "the method", "full layer", "random heads", "single prompt"
SCORER, SMOOTHING, TAU, SWEEP = "scorer", "smoothing", "tau", "sweep"
ORACLE, ALONE = "oracle prompt", "prompt alone"

METRICS = ("auc", "ap_step", "auc_abnormal", "f1_at_tau", "event_map")
PUBLISHED = {"published_auc_ucf_crime": "ucf-crime", "published_ap_xd_violence": "xd-violence"}
COLUMNS = (
    *("part", "variant", "experts", "penalty", "scorer"),
    *(f"{name}{end}" for name in METRICS for end in ("", "_low", "_high")),
    *("auc_spread", "ap_step_spread", *PUBLISHED, "note"),
)

NOTES = (
    "low and high are 95 % intervals over videos. The row of random heads is the mean over its "
    "draws; auc_spread and ap_step_spread are the standard deviations between them.",
    "tau moves F1 and the events, and nothing else: AUC and AP rank frames and do not depend on "
    "it. The paper prints other AUC and AP for other tau all the same; those are its numbers.",
    "Every variant has the method's own smoothing and tau, except where the row says otherwise.",
    "Published numbers are fractions, reported by the authors of HeadHunt-VAD (arXiv 2512.17601), "
    "with InternVL3-8B on UCF-Crime and XD-Violence; they stand beside yours whatever your videos "
    "are.",
)
FLAG = "chosen by the labels of these test videos: an upper bound, not a result"


@dataclass(frozen=True)
class Variant:
    """A choice of heads under one prompt, and the kind of scorer on their features.

    part: what is varied. prompt: under which one features are read. penalty: lambda, where heads
    are chosen with it.
    """

    part: str
    name: str
    heads: tuple[HeadId, ...]
    kind: str
    prompt: str
    penalty: float | None = None


def variants(
    normalised: Floats,
    prompts: Sequence[str],
    online: str,
    *,
    count: int,
    penalty: float,
    kind: str,
    counts: Sequence[int],
    penalties: Sequence[float],
    seed: int,
) -> list[Variant]:
    """The method and its variants, from the saliency S [P, L, H] of its prompts.

    - full layer: every head of the layer of largest mean RSS that has an RSS;
    - random heads: `DRAWS` draws of `count` heads that have one;
    - single prompt: the heads of largest S under each prompt alone;
    - scorer: the method's heads under each other kind of scorer;
    - sweep: every K of `counts` with every lambda of `penalties`.

    Raises DataError where fewer heads have an RSS than are asked for.
    """
    rss = rhi.robust_saliency(normalised, penalty)
    experts = tuple(rhi.top_heads(rss, count))
    usable = [HeadId(*head) for head in np.argwhere(np.isfinite(rss)).tolist()]
    layers = {head.layer for head in usable}
    best = max(layers, key=lambda layer: (np.nanmean(rss[layer]), -layer))
    random = np.random.default_rng(seed)
    found = [
        Variant(METHOD, METHOD, experts, kind, online, penalty),
        Variant(LAYER, f"layer {best}", tuple(h for h in usable if h.layer == best), kind, online),
    ]
    for draw in range(1, DRAWS + 1):
        picked = np.sort(random.choice(len(usable), count, replace=False)).tolist()
        heads = tuple(usable[i] for i in picked)
        found.append(Variant(RANDOM, f"draw {draw}", heads, kind, online))
    for saliency, prompt in zip(normalised, prompts, strict=True):
        heads = tuple(rhi.top_heads(saliency, count))
        found.append(Variant(WORDING, prompt, heads, kind, online))
    for other in registry.names(KINDS, GROUP):
        if other != kind:
            found.append(Variant(SCORER, other, experts, other, online, penalty))
    for (value, k), chosen in rhi.sweep(normalised, penalties, counts).items():
        name = f"K {k}, lambda {value:g}"
        found.append(Variant(SWEEP, name, tuple(chosen), kind, online, value))
    return found


def prompt_variants(
    normalised: Floats, prompts: Sequence[str], *, count: int, kind: str
) -> list[Variant]:
    """Each prompt alone, from S [P, L, H]: its heads are chosen, fitted and read under it."""
    return [
        Variant(ALONE, prompt, tuple(rhi.top_heads(saliency, count)), kind, prompt)
        for saliency, prompt in zip(normalised, prompts, strict=True)
    ]


def all_heads(chosen: Sequence[Variant]) -> NDArray[np.int64]:
    """The heads of all variants, each once, in order: [M, 2]."""
    return np.array(sorted({head for one in chosen for head in one.heads}), dtype=np.int64)


@dataclass(frozen=True)
class Fitted:
    """Variants with their scorers, which read features of `heads` [M, 2]."""

    variants: tuple[Variant, ...]
    scorers: tuple[Scorer, ...]
    heads: NDArray[np.int64]

    def score(self, features: Mapping[str, NDArray[np.float32]]) -> list[Floats]:
        """The probabilities [T] by each variant, from features [T, M, D] by prompt."""
        return [
            scorer.predict_proba(features[one.prompt][:, self._columns(one)])
            for one, scorer in zip(self.variants, self.scorers, strict=True)
        ]

    def _columns(self, variant: Variant) -> list[int]:
        at = {tuple(head): i for i, head in enumerate(self.heads.tolist())}
        return [at[tuple(head)] for head in variant.heads]

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What an artifact keeps beside `described`; `restore` takes both."""
        kept: dict[str, NDArray[Any]] = {"heads": self.heads}
        for number, scorer in enumerate(self.scorers):
            kept |= {f"{number:04}.{name}": value for name, value in scorer.arrays().items()}
        return kept

    def described(self) -> list[dict[str, Any]]:
        """The variants as JSON."""
        return [asdict(one) for one in self.variants]

    @classmethod
    def restore(
        cls, described: Sequence[Mapping[str, Any]], arrays: Mapping[str, NDArray[Any]]
    ) -> Fitted:
        """The inverse of `described` and `arrays`. Raises ArtifactError for an absent array."""
        known = tuple(
            Variant(**{**one, "heads": tuple(HeadId(*head) for head in one["heads"])})
            for one in described
        )
        scorers = []
        for number, one in enumerate(known):
            start = f"{number:04}."
            own = {key[len(start) :]: v for key, v in arrays.items() if key.startswith(start)}
            scorers.append(Scorer.from_arrays(one.kind, own))
        return cls(known, tuple(scorers), arrays["heads"])


def fit(
    chosen: Sequence[Variant],
    features: Mapping[str, NDArray[np.float32]],
    labels: NDArray[np.int64],
    *,
    seed: int,
    share: float,
) -> Fitted:
    """Fit the scorer of each variant to calibration features [N, M, D] of `all_heads` by prompt."""
    taken = fitting_samples(labels, share, seed)
    heads = all_heads(chosen)
    empty = Fitted(tuple(chosen), (), heads)
    scorers = tuple(
        Scorer(one.kind, seed).fit(
            features[one.prompt][taken][:, empty._columns(one)], labels[taken]
        )
        for one in chosen
    )
    return replace(empty, scorers=scorers)


@dataclass(frozen=True)
class Tested:
    """One annotated test video, its events [start, end) and its scores [T] by each variant."""

    video: str
    label: str
    camera: str
    events: tuple[tuple[int, int], ...]
    bounds: NDArray[np.int64]
    scores: tuple[Floats, ...]


def table(
    chosen: Sequence[Variant],
    videos: Sequence[Tested],
    locator: Locator,
    *,
    resamples: int,
    seed: int,
) -> list[list[Any]]:
    """Rows of COLUMNS: every variant judged on the same videos, with 95 % intervals.

    After the scorers stand the rows of the method without smoothing and with each of TAUS.
    resamples and seed are of the bootstrap, which some intervals need.
    """

    def judge(at: int, by: Locator) -> dict[str, dict[str, Any]]:
        drawn = 0 if chosen[at].part == RANDOM else resamples  # a draw's interval is not shown
        return _judge(videos, at, by, drawn, seed)

    judged = {one: judge(at, locator) for at, one in enumerate(chosen)}
    rows = []
    for one in chosen:
        if one.part == RANDOM:
            if one.name == "draw 1":
                rows.append(_random_row([(v, judged[v]) for v in chosen if v.part == RANDOM]))
            continue
        if one.part == SWEEP and not any(row[0] == SMOOTHING for row in rows):
            rows += _rows_of_locator(chosen[0], locator, judge)
        rows.append(_row(one, judged[one]))
    return rows


def oracle_table(
    chosen: Sequence[Variant],
    videos: Sequence[Tested],
    locator: Locator,
    *,
    resamples: int,
    seed: int,
) -> list[list[Any]]:
    """Rows of COLUMNS: each prompt used alone, and the best of them by AUC, which is flagged."""
    judged = [_judge(videos, at, locator, resamples, seed) for at in range(len(chosen))]
    values = [entry["auc"]["value"] for entry in judged]
    if None in values:
        raise DataError(
            "the oracle prompt is the one of largest AUC, which the annotated test videos do not "
            f"define: {judged[0]['auc'].get('reason')}"
        )
    best = int(np.argmax(values))
    alone = [_row(one, entry) for one, entry in zip(chosen, judged, strict=True)]
    return [_row(replace(chosen[best], part=ORACLE), judged[best], note=FLAG), *alone]


def _rows_of_locator(
    first: Variant, locator: Locator, judge: Callable[[int, Locator], dict[str, dict[str, Any]]]
) -> Iterator[list[Any]]:
    """The method, variant 0, under other locators."""
    raw = replace(locator, sigma=UNSMOOTHED, passes=1, border="renormalise")
    name = "no smoothing"
    yield _row(replace(first, part=SMOOTHING, name=name), judge(0, raw))
    for tau in TAUS:
        fixed = replace(locator, tau=tau, budget=None)
        one = replace(first, part=TAU, name=f"tau {tau:g}")
        yield _row(one, judge(0, fixed), note="AUC and AP cannot depend on tau")


def _judge(
    videos: Sequence[Tested], at: int, locator: Locator, resamples: int, seed: int
) -> dict[str, dict[str, Any]]:
    """METRICS of one variant, the one at this place, with intervals."""
    scored = []
    for video in videos:
        count = locator.judged(video.bounds)
        values = video.scores[at]
        n_frames = int(video.bounds[count - 1, 1])
        scored.append(
            evaluate.Scored(
                video=video.video,
                label=video.label,
                categories=(),
                n_frames=n_frames,
                events=evaluate.events_in(video.events, n_frames, "half-open"),
                bounds=video.bounds[:count],
                scores=locator.measured(locator.smooth(values, video.bounds), video.bounds),
                detected=tuple(locator.events(values, video.bounds, video.camera)),
                taus=locator.taus(count, video.camera),
            )
        )
    judged = evaluate.Judged(scored, locator.tau)
    return evaluate.judge(judged, METRICS, resamples=resamples, seed=seed, level=0.95)


def _row(one: Variant, entry: Mapping[str, Mapping[str, Any]], note: str = "") -> list[Any]:
    ends = [entry[name].get(key) for name in METRICS for key in ("value", "low", "high")]
    heads: list[Any] = [one.part, one.name, len(one.heads), one.penalty, one.kind]
    return [*heads, *ends, None, None, *_published(one), note]


def _random_row(draws: Sequence[tuple[Variant, Mapping[str, Mapping[str, Any]]]]) -> list[Any]:
    """The mean over the draws, and for AUC and AP the standard deviation between them."""
    one = draws[0][0]
    cells: list[Any] = []
    spreads: list[float | None] = []
    for name in METRICS:
        values = [entry[name]["value"] for _, entry in draws]
        known = None not in values
        cells += [float(np.mean(values)) if known else None, None, None]
        if name in ("auc", "ap_step"):
            spreads.append(float(np.std(values, ddof=1)) if known else None)
    row: list[Any] = [RANDOM, f"{len(draws)} draws", len(one.heads), None, one.kind]
    return [*row, *cells, *spreads, *_published(one), "mean over the draws"]


# The authors' name of each row, in `published.TABLE`.
_THEIRS: dict[str | tuple[str, str], str] = {
    METHOD: "HeadHunt-VAD",
    LAYER: "HeadHunt-VAD, all heads of a layer",
    RANDOM: "HeadHunt-VAD, random heads",
    ORACLE: "HeadHunt-VAD, oracle prompt",
    SMOOTHING: "HeadHunt-VAD, no smoothing",
    (SCORER, "svm"): "HeadHunt-VAD, linear SVM",
    (SCORER, "mlp"): "HeadHunt-VAD, MLP",
    **{(TAU, f"tau {tau:g}"): f"HeadHunt-VAD, tau {tau:.2f}" for tau in TAUS},
}


def _published(one: Variant) -> list[float | None]:
    """What the authors report of the same change: AUC on UCF-Crime, AP on XD-Violence."""
    name = _THEIRS.get((one.part, one.name)) or _THEIRS.get(one.part)
    if one.part == WORDING and one.name == one.prompt:  # the online one, read as it was chosen
        name = "HeadHunt-VAD, one coarse prompt"
    return [
        next((row.value / 100 for row in published.of(dataset) if row.method == name), None)
        for dataset in PUBLISHED.values()
    ]


def markdown(rows: Sequence[Sequence[Any]], notes: Sequence[str]) -> str:
    """The table as Markdown, shares in percent, with the notes under it."""
    shown = ("auc", "ap_step", "f1_at_tau", "event_map")
    head = ["part", "variant", "heads", "AUC", "AP (step)", "F1 at tau", "mAP of events"]
    head += ["published AUC, UCF-Crime", "published AP, XD-Violence", ""]
    lines = [head, ["---"] * len(head)]
    for row in rows:
        cell = dict(zip(COLUMNS, row, strict=True))
        line = [cell["part"], cell["variant"], str(cell["experts"])]
        line += [_percent(cell, name) for name in shown]
        line += ["" if cell[name] is None else f"{100 * cell[name]:.2f}" for name in PUBLISHED]
        lines.append([*line, cell["note"]])
    text = ["| " + " | ".join(c.replace("|", r"\|") for c in line) + " |" for line in lines]
    return "\n".join([*text, "", *notes, ""])


def _percent(cell: Mapping[str, Any], name: str) -> str:
    value, low, high = (cell[name + end] for end in ("", "_low", "_high"))
    if value is None:
        return ""
    text = f"{100 * value:.2f}"
    spread = cell.get(f"{name}_spread")
    if spread is not None:
        return f"{text} ± {100 * spread:.2f}"
    return text if low is None else f"{text} [{100 * low:.1f}, {100 * high:.1f}]"


def column(one: Variant) -> str:
    """The name of a variant's column in a table of scores."""
    return f"{one.part}: {one.name}"
