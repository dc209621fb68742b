"""Commands of rules/methods/headhunt.smk: saliency, experts, scorer, scores, detector, figures."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def add_commands(commands: Any) -> None:
    """Add this stage's commands."""
    p = commands.add_parser(
        "score-saliency",
        help="measure how well each head separates normal from anomalous videos",
        description="The separability metrics of every head under one prompt.",
    )
    _add_features(p)
    p.add_argument("--metrics", nargs="+", required=True, metavar="NAME")
    p.add_argument("--shrinkage", choices=("none", "ledoit-wolf"), required=True)
    p.add_argument("--threads", type=int, required=True)
    p.add_argument("--out", required=True, metavar="H5")
    p.set_defaults(run=_score_saliency)

    p = commands.add_parser(
        "identify-heads",
        help="choose the experts: heads that are salient under every prompt",
        description="RSS = mean - penalty * spread of saliency over prompts, and its top heads.",
    )
    p.add_argument("--saliency", nargs="+", required=True, metavar="H5", help="one file per prompt")
    p.add_argument(
        "--features", nargs="*", default=[], metavar="H5", help="for --bootstrap: of all prompts"
    )
    p.add_argument(
        "--labels", nargs="*", default=[], metavar="LABEL", help="of the videos, in the order of "
        "the features of each prompt",
    )  # fmt: skip
    _add_segment_labels(p)
    p.add_argument("--count", type=int, required=True, metavar="K", help="of experts")
    p.add_argument("--penalty", type=float, required=True, metavar="LAMBDA")
    p.add_argument("--bootstrap", type=int, required=True, metavar="RESAMPLES")
    p.add_argument("--seed", type=int, required=True)
    p.add_argument("--threads", type=int, required=True)
    p.add_argument("--out", required=True, metavar="H5")
    p.add_argument(
        "--table", required=True, metavar="TSV", help="the experts, and heads that resamples chose"
    )
    p.set_defaults(run=_identify_heads)

    p = commands.add_parser(
        "fit-scorer",
        help="fit the classifier on the experts' features",
        description="Fit a classifier on the experts' features of the calibration videos.",
    )
    _add_features(p)
    p.add_argument("--experts", required=True, metavar="H5")
    p.add_argument("--kind", required=True, help="of scorer")
    p.add_argument("--seed", type=int, required=True)
    p.add_argument("--share", type=float, required=True, help="of the samples, stratified")
    p.add_argument("--out", required=True, metavar="H5")
    p.set_defaults(run=_fit_scorer)

    p = commands.add_parser(
        "score-headhunt",
        help="the probability of anomaly of each segment",
        description="Apply the scorer to the experts' features of each segment of a video.",
    )
    p.add_argument("--features", required=True, metavar="H5")
    p.add_argument("--scorer", required=True, metavar="H5", help="a scorer, or a detector")
    p.add_argument("--out", required=True, metavar="TSV")
    p.set_defaults(run=_score_headhunt)

    p = commands.add_parser(
        "pack-detector", help="put experts, scorer and locator into one file: what one shares"
    )
    p.add_argument("--scorer", required=True, metavar="H5")
    p.add_argument("--locator", required=True, metavar="JSON")
    p.add_argument("--out", required=True, metavar="H5")
    p.add_argument("--masks", metavar="YAML", help="what is hidden, per camera; it is kept")
    p.set_defaults(run=_pack_detector)

    p = commands.add_parser("unpack-locator", help="take the locator out of a detector")
    p.add_argument("--detector", required=True, metavar="H5")
    p.add_argument("--out", required=True, metavar="JSON")
    p.set_defaults(run=_unpack_locator)

    p = commands.add_parser("export-detector", help="copy a detector, checked, to share it")
    p.add_argument("--detector", required=True)
    p.add_argument("--out", required=True)
    p.set_defaults(run=_export_detector)

    p = commands.add_parser("show-detector", help="say what a detector file holds")
    p.add_argument("detector")
    p.set_defaults(run=_show_detector)

    heads = commands.add_parser("plot-heads", help="draw RSS, saliency and agreement of prompts")
    heads.add_argument("--experts", required=True, metavar="H5")
    heads.add_argument("--out-rss", required=True, metavar="SVG")
    heads.add_argument("--out-saliency", required=True, metavar="SVG")
    heads.add_argument("--out-agreement", required=True, metavar="SVG")
    heads.set_defaults(run=_plot_heads)

    features = commands.add_parser("plot-features", help="draw the features in two dimensions")
    _add_features(features)
    features.add_argument("--experts", required=True, metavar="H5")
    features.add_argument("--out", required=True, metavar="SVG")
    features.set_defaults(run=_plot_features)


def _add_features(parser: Any) -> None:
    parser.add_argument(
        "--features", nargs="+", required=True, metavar="H5", help="one file per video, one prompt"
    )
    parser.add_argument(
        "--labels", nargs="*", default=[], metavar="LABEL", help="normal or anomaly, one per file"
    )
    _add_segment_labels(parser)


def _add_segment_labels(parser: Any) -> None:
    """Add --segment-labels, of the commands that take calibration samples."""
    parser.add_argument(
        "--segment-labels",
        metavar="TSV",
        help="for features of segments, from label-segments; segments that are not listed are left "
        "out (without it: one row per video, labelled by --labels)",
    )


def _score_saliency(arguments: Namespace) -> None:
    import numpy as np

    from hhvad.artifacts import hdf5 as artifacts
    from hhvad.methods.headhunt import saliency, samples

    files = [samples.read_all_heads(path) for path in arguments.features]
    artifacts.require_same(files, samples.SAME_PROMPT)
    features, labels, _ = samples.join_samples(files, arguments.labels, arguments.segment_labels)
    samples.require_two_of_each(labels)
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
        **samples.carried(files[0], samples.SAME_PROMPT),
        "metrics": list(arguments.metrics),
        "shrinkage": arguments.shrinkage,
        "samples": {"normal": int((labels == 0).sum()), "anomaly": int(labels.sum())},
        "videos": [samples.video_of(file) for file in files],
        "lda_singular": singular,
        "problems": [[*head, reason] for head, reason in excluded.items()],
    }
    artifacts.write(arguments.out, "saliency", {"saliency": scores.astype(np.float64)}, provenance)


def _identify_heads(arguments: Namespace) -> None:
    import numpy as np

    from hhvad.artifacts import hdf5 as artifacts
    from hhvad.errors import ConfigError
    from hhvad.methods.headhunt import rhi, samples, stability

    files = samples.read_saliencies(arguments.saliency)
    normalised = rhi.normalise(np.stack([file["saliency"] for file in files]))
    rss = rhi.robust_saliency(normalised, arguments.penalty)
    experts = rhi.top_heads(rss, arguments.count)
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
        arrays["selected"] = stability.selection_frequency(
            files,
            arguments.features,
            arguments.labels,
            arguments.segment_labels,
            count=arguments.count,
            penalty=arguments.penalty,
            bootstrap=arguments.bootstrap,
            seed=arguments.seed,
            threads=arguments.threads,
        )
    excluded = [
        (layer, head, file.provenance["prompt"], reason)
        for file in files
        for layer, head, reason in file.provenance["problems"]
    ]
    provenance = {
        **samples.carried(
            files[0], (*samples.SAME_CAPTURE, "metrics", "shrinkage", "samples", "videos")
        ),
        # A list, in the order of `normalised`: JSON objects have no order of their own.
        "prompts": [f.provenance["prompt"] for f in files],
        "prompt_texts": {f.provenance["prompt"]: f.provenance.get("prompt_text") for f in files},
        "penalty": arguments.penalty,
        "bootstrap": arguments.bootstrap,
        "seed": arguments.seed,
        "excluded": [list(row) for row in excluded],
    }
    artifacts.write(arguments.out, "experts", arrays, provenance)
    _write_table(arguments.table, arrays, rhi.top_heads(rss, int(np.isfinite(rss).sum())))


def _fit_scorer(arguments: Namespace) -> None:
    import numpy as np

    from hhvad.artifacts import hdf5 as artifacts
    from hhvad.errors import ArtifactError
    from hhvad.methods.headhunt import samples
    from hhvad.methods.headhunt.scorer import Scorer, fitting_samples

    experts = artifacts.read(arguments.experts, "experts", ("experts",))
    heads = experts["experts"]
    files = [artifacts.head_features(path, heads) for path in arguments.features]
    artifacts.require_same(files, samples.SAME_PROMPT)
    artifacts.require_same([experts, files[0]], samples.SAME_CAPTURE)
    text = experts.provenance["prompt_texts"].get(files[0].provenance.get("prompt"))
    if text not in (None, files[0].provenance.get("prompt_text")):
        raise ArtifactError(
            f"{files[0].path}: prompt_text is {files[0].provenance.get('prompt_text')!r}, but "
            f"{experts.path} has {text!r}: delete the older one and rerun"
        )
    features, labels, _ = samples.join_samples(files, arguments.labels, arguments.segment_labels)
    taken = fitting_samples(labels, arguments.share, arguments.seed)
    scorer = Scorer(arguments.kind, arguments.seed).fit(features[taken], labels[taken])
    if not scorer.converged_:
        _note(f"the {arguments.kind} scorer has not converged within its limit of iterations")
    provenance = {
        **samples.carried(files[0], samples.SAME_PROMPT),
        "kind": arguments.kind,
        "seed": arguments.seed,
        "share": arguments.share,
        "converged": scorer.converged_,
        "samples": {"normal": scorer.n_fitted_[0], "anomaly": scorer.n_fitted_[1]},
        "experts": samples.carried(experts, ("prompts", "penalty", "metrics", "shrinkage")),
    }
    arrays: dict[str, NDArray[Any]] = {**scorer.arrays(), "experts": np.asarray(heads)}
    artifacts.write(arguments.out, "scorer", arrays, provenance)


def _score_headhunt(arguments: Namespace) -> None:
    from hhvad.artifacts import hdf5 as artifacts
    from hhvad.artifacts import scores
    from hhvad.methods.headhunt.detector import require_same_online
    from hhvad.methods.headhunt.scorer import Scorer

    fitted = artifacts.read(arguments.scorer, "scorer")
    features = artifacts.head_features(arguments.features, fitted["experts"])
    require_same_online(fitted, features)
    scorer = Scorer.from_arrays(fitted.provenance["kind"], fitted.arrays)
    scores.write(arguments.out, features["segments"], scorer.predict_proba(features["features"]))


def _pack_detector(arguments: Namespace) -> None:
    from hhvad import masks
    from hhvad.artifacts import hdf5 as artifacts
    from hhvad.localization import locator_file

    fitted = artifacts.read(arguments.scorer, "scorer")
    settings = locator_file.read(arguments.locator).to_json()
    provenance = {**fitted.provenance, "locator": settings}
    if arguments.masks:
        provenance["masks"] = masks.read(arguments.masks)
    artifacts.write(arguments.out, "detector", fitted.arrays, provenance)


def _unpack_locator(arguments: Namespace) -> None:
    from hhvad.files import write_json
    from hhvad.methods.headhunt.detector import Detector

    write_json(arguments.out, Detector.read(arguments.detector).locator.to_json())


def _export_detector(arguments: Namespace) -> None:
    from hhvad.artifacts import hdf5 as artifacts

    content = artifacts.read(arguments.detector, "detector")
    artifacts.write(arguments.out, "detector", content.arrays, content.provenance)
    print(f"{arguments.out}: detector of model {content.provenance.get('model')}")


def _show_detector(arguments: Namespace) -> None:
    from hhvad.errors import ArtifactError
    from hhvad.methods.headhunt import detector

    try:
        rows = detector.summary(arguments.detector)
    except ArtifactError as error:
        # Nothing was computed here: do not advise to delete somebody's file and rerun.
        reason = str(error).split("; delete")[0]
        raise ArtifactError(f"{reason}; show-detector reads files of pack-detector") from error
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        print(f"{name:<{width}}  {value}")


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


def _plot_heads(arguments: Namespace) -> None:
    from hhvad.artifacts import hdf5 as artifacts
    from hhvad.figures import plots

    file = artifacts.read(arguments.experts, "experts")
    experts = [(layer, head) for layer, head in file["experts"].tolist()]
    prompts = file.provenance["prompts"]
    plots.save(plots.rss(file["rss"], experts, file.arrays.get("selected")), arguments.out_rss)
    plots.save(plots.saliency(file["normalised"], prompts), arguments.out_saliency)
    figure = plots.agreement(file["normalised"], prompts, len(experts))
    plots.save(figure, arguments.out_agreement)


def _plot_features(arguments: Namespace) -> None:
    import numpy as np

    from hhvad.artifacts import hdf5 as artifacts
    from hhvad.figures import plots
    from hhvad.methods.headhunt.samples import join_samples

    heads = artifacts.read(arguments.experts, "experts", ("experts", "rss"))
    last, count = heads["rss"].shape
    whole = np.array([[last - 1, head] for head in range(count)])
    finite = np.isfinite(heads["rss"][last - 1])
    shown = []
    for chosen in (heads["experts"], whole[finite]):
        files = [artifacts.head_features(path, chosen) for path in arguments.features]
        values, labels, _ = join_samples(files, arguments.labels, arguments.segment_labels)
        shown.append(values.reshape(len(values), -1).astype(np.float64))
    names = (f"{len(heads['experts'])} expert heads", f"all {finite.sum()} heads of the last layer")
    figure = plots.features(
        shown[0], shown[1], ["anomaly" if label else "normal" for label in labels], names
    )
    plots.save(figure, arguments.out)
