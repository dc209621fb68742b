"""Commands of stage heads: saliency of every head, the experts, the scorer on their features."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from hhvad.artifacts.hdf5 import Artifact, Provenance



def add_commands(commands: Any) -> None:
    """Add this stage's commands."""
    p = commands.add_parser(
        "score-saliency",
        help="measure how well each head separates normal from anomalous videos",
        description="The separability metrics of every head under one prompt.",
    )
    _add_features(p)
    p.add_argument("--metrics", nargs="+", default=["lda", "kl", "mmd", "nmi"], metavar="NAME")
    p.add_argument("--shrinkage", choices=("none", "ledoit-wolf"), default="none")
    p.add_argument("--threads", type=int, default=1)
    p.add_argument("--out", required=True, metavar="H5")
    p.set_defaults(run=_score_saliency)

    p = commands.add_parser(
        "identify-heads",
        help="choose the experts: heads that are salient under every prompt",
        description="RSS = mean - penalty * spread of saliency over prompts, and its top heads.",
    )
    p.add_argument("--saliency", nargs="+", required=True, metavar="H5", help="one file a prompt")
    p.add_argument(
        "--features", nargs="*", default=[], metavar="H5", help="for --bootstrap: of all prompts"
    )
    p.add_argument(
        "--labels", nargs="*", default=[], metavar="LABEL", help="of the videos, in the order of "
        "the features of each prompt",
    )  # fmt: skip
    add_segment_labels(p)
    p.add_argument("--experts", type=int, default=5, metavar="K")
    p.add_argument("--penalty", type=float, default=0.5, metavar="LAMBDA")
    p.add_argument("--bootstrap", type=int, default=0, metavar="RESAMPLES")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--threads", type=int, default=1)
    p.add_argument("--out", required=True, metavar="H5")
    p.add_argument("--table", metavar="TSV", help="the experts, and heads that resamples chose")
    p.add_argument("--excluded", metavar="TSV", help="the heads that have no RSS, and why")
    p.set_defaults(run=_identify_heads)

    p = commands.add_parser(
        "fit-scorer",
        help="fit the classifier on the experts' features",
        description="Fit a classifier on the experts' features of the calibration videos.",
    )
    _add_features(p)
    p.add_argument("--experts", required=True, metavar="H5")
    p.add_argument("--kind", choices=("logistic", "svm", "mlp"), default="logistic")
    p.add_argument("--seed", type=int, default=42)
    p.add_argument("--out", required=True, metavar="H5")
    p.set_defaults(run=_fit_scorer)

    p = commands.add_parser(
        "sweep-heads",
        help="the experts for other numbers of experts and penalties, and how well they do",
        description="The experts for each number and penalty, from the captures there are. "
        "With a sheet, frame-level AUC and AP of their unsmoothed scores on its test videos.",
    )
    p.add_argument("--saliency", nargs="+", required=True, metavar="H5", help="one file a prompt")
    p.add_argument("--experts-range", nargs="+", type=int, required=True, metavar="K")
    p.add_argument("--penalty-range", nargs="+", type=float, required=True, metavar="LAMBDA")
    p.add_argument("--features", nargs="*", default=[], metavar="H5", help="to fit the scorer on")
    p.add_argument("--labels", nargs="*", default=[], metavar="LABEL", help="one a file")
    add_segment_labels(p)
    p.add_argument("--kind", choices=("logistic", "svm", "mlp"), default="logistic")
    p.add_argument("--seed", type=int, default=42)
    p.add_argument("--sheet", metavar="TSV", help="test videos with their events")
    p.add_argument("--heads-folder", metavar="DIR", help="of their captures, VIDEO.h5")
    p.add_argument("--probes-folder", metavar="DIR", help="of their probes, VIDEO.json")
    p.add_argument("--out", required=True, metavar="TSV")
    p.set_defaults(run=_sweep_heads)


def _add_features(parser: Any) -> None:
    parser.add_argument(
        "--features", nargs="+", required=True, metavar="H5", help="one file a video, one prompt"
    )
    parser.add_argument(
        "--labels", nargs="*", default=[], metavar="LABEL", help="normal or anomaly, one a file"
    )
    add_segment_labels(parser)


def add_segment_labels(parser: Any) -> None:
    """Add --segment-labels, of the commands that take calibration samples."""
    parser.add_argument(
        "--segment-labels",
        metavar="TSV",
        help="for features of segments, from label-segments; segments that are not listed are left "
        "out (default: one row a video, labelled by --labels)",
    )


def _score_saliency(arguments: Namespace) -> None:
    import numpy as np

    from hhvad.artifacts import hdf5 as artifacts
    from hhvad.methods.headhunt import saliency

    files = [_all_heads(path) for path in arguments.features]
    artifacts.require_same(files, SAME_PROMPT)
    features, labels, _ = samples(files, arguments)
    _two_of_each(labels)
    shrinkage = None if arguments.shrinkage == "none" else arguments.shrinkage
    scores = saliency.score_heads(
        features,
        labels,
        metrics=arguments.metrics,
        shrinkage=shrinkage,
        threads=arguments.threads,
    )
    excluded = saliency.problems(features, labels, scores, arguments.metrics)
    singular = saliency.is_singular(len(labels), features.shape[3])
    if singular and shrinkage is None and "lda" in arguments.metrics:
        _note(
            f"{len(labels)} samples for {features.shape[3]} dimensions: LDA's scatter is singular "
            "and ruled by its ridge; --shrinkage ledoit-wolf estimates it instead"
        )
    if excluded:
        head, reason = next(iter(excluded.items()))
        _note(f"{len(excluded)} heads have no saliency, the first is {head}: {reason}")
    provenance = {
        **_carried(files[0], SAME_PROMPT),
        "metrics": list(arguments.metrics),
        "shrinkage": arguments.shrinkage,
        "samples": {"normal": int((labels == 0).sum()), "anomaly": int(labels.sum())},
        "videos": [_video(file) for file in files],
        "lda_singular": singular,
        "problems": [[*head, reason] for head, reason in excluded.items()],
    }
    artifacts.write(arguments.out, "saliency", {"saliency": scores.astype(np.float64)}, provenance)


def _identify_heads(arguments: Namespace) -> None:
    import numpy as np

    from hhvad.artifacts import hdf5 as artifacts
    from hhvad.errors import ConfigError
    from hhvad.files import write_tsv
    from hhvad.methods.headhunt import rhi

    files = _saliencies(arguments.saliency)
    normalised = rhi.normalise(np.stack([file["saliency"] for file in files]))
    rss = rhi.robust_saliency(normalised, arguments.penalty)
    experts = rhi.top_heads(rss, arguments.experts)
    _name_ties(rss, experts)
    arrays = {
        "rss": rss,
        "experts": np.array(experts, dtype=np.int64),
        "mean": normalised.mean(axis=0),
        "spread": normalised.std(axis=0),
        "normalised": normalised,
    }
    if arguments.bootstrap < 0:
        raise ConfigError(f"--bootstrap is {arguments.bootstrap}; it must be 0 or more")
    if arguments.bootstrap:
        arrays["selected"] = _bootstrap(arguments, files)
    excluded = [
        (layer, head, file.provenance["prompt"], reason)
        for file in files
        for layer, head, reason in file.provenance["problems"]
    ]
    provenance = {
        **_carried(files[0], (*SAME_CAPTURE, "metrics", "shrinkage", "samples", "videos")),
        # A list, in the order of `normalised`: JSON objects have no order of their own.
        "prompts": [f.provenance["prompt"] for f in files],
        "prompt_texts": {f.provenance["prompt"]: f.provenance.get("prompt_text") for f in files},
        "penalty": arguments.penalty,
        "bootstrap": arguments.bootstrap,
        "seed": arguments.seed,
        "excluded": [list(row) for row in excluded],
    }
    artifacts.write(arguments.out, "experts", arrays, provenance)
    if arguments.table:
        _write_table(arguments.table, arrays, rhi.top_heads(rss, int(np.isfinite(rss).sum())))
    if arguments.excluded:
        write_tsv(arguments.excluded, ("layer", "head", "prompt", "reason"), excluded)


def _fit_scorer(arguments: Namespace) -> None:
    import numpy as np

    from hhvad.artifacts import hdf5 as artifacts
    from hhvad.errors import ArtifactError
    from hhvad.methods.headhunt.scorer import Scorer

    experts = artifacts.read(arguments.experts, "experts", ("experts",))
    heads = experts["experts"]
    files = [artifacts.head_features(path, heads) for path in arguments.features]
    artifacts.require_same(files, SAME_PROMPT)
    artifacts.require_same([experts, files[0]], SAME_CAPTURE)
    text = experts.provenance["prompt_texts"].get(files[0].provenance.get("prompt"))
    if text not in (None, files[0].provenance.get("prompt_text")):
        raise ArtifactError(
            f"{files[0].path}: prompt_text is {files[0].provenance.get('prompt_text')!r}, but "
            f"{experts.path} has {text!r}: delete the older one and rerun"
        )
    features, labels, _ = samples(files, arguments)
    scorer = Scorer(arguments.kind, arguments.seed).fit(features, labels)
    if not scorer.converged_:
        _note(f"the {arguments.kind} scorer has not converged within its limit of iterations")
    provenance = {
        **_carried(files[0], SAME_PROMPT),
        "kind": arguments.kind,
        "seed": arguments.seed,
        "converged": scorer.converged_,
        "samples": {"normal": scorer.n_fitted_[0], "anomaly": scorer.n_fitted_[1]},
        "experts": _carried(experts, ("prompts", "penalty", "metrics", "shrinkage")),
    }
    arrays: dict[str, NDArray[Any]] = {**scorer.arrays(), "experts": np.asarray(heads)}
    artifacts.write(arguments.out, "scorer", arrays, provenance)


def _sweep_heads(arguments: Namespace) -> None:
    import numpy as np

    from hhvad.errors import ConfigError
    from hhvad.files import write_tsv
    from hhvad.methods.headhunt import rhi

    given = [bool(getattr(arguments, name)) for name in ("sheet", "heads_folder", "probes_folder")]
    if any(given) and not (all(given) and arguments.features):
        raise ConfigError("--sheet, --heads-folder, --probes-folder and --features belong together")
    files = _saliencies(arguments.saliency)
    normalised = rhi.normalise(np.stack([file["saliency"] for file in files]))
    found = rhi.sweep(normalised, arguments.penalty_range, arguments.experts_range)
    unknown = [(None, None)] * len(found)
    measured = _measure(arguments, list(found.values())) if all(given) else unknown
    rows = [
        (penalty, k, " ".join(f"{head.layer},{head.head}" for head in heads), *metrics)
        for ((penalty, k), heads), metrics in zip(found.items(), measured, strict=True)
    ]
    write_tsv(arguments.out, ("penalty", "experts", "heads", "auc", "ap_step"), rows)


def _name_ties(rss: NDArray[np.float64], experts: Sequence[tuple[int, int]]) -> None:
    """A tie at the last expert is decided by (layer, head): say so."""
    import numpy as np

    last = rss[experts[-1]]
    chosen = set(experts)
    equal = [h for h in map(tuple, np.argwhere(rss == last).tolist()) if h not in chosen]
    if equal:
        _note(
            f"head {tuple(experts[-1])} and {len(equal)} more, the first {equal[0]}, have the same "
            "RSS: the first by (layer, head) is taken"
        )


def _write_table(path: str, arrays: dict[str, Any], ranking: Sequence[tuple[int, int]]) -> None:
    """The experts and the heads that a resample chose, by rank."""
    from hhvad.files import write_tsv

    selected = arrays.get("selected")
    rows = []
    for rank, head in enumerate(ranking, start=1):
        often = None if selected is None else float(selected[head])
        if rank <= len(arrays["experts"]) or often:
            values = [float(arrays[name][head]) for name in ("rss", "mean", "spread")]
            rows.append((rank, *head, *values, often))
    columns = ("rank", "layer", "head", "rss", "mean", "spread", "selected_in_bootstrap")
    write_tsv(path, columns, rows)


def _note(text: str) -> None:
    print(f"hhvad: note: {text}", file=sys.stderr)
