"""Commands of rules/methods/headhunt_ablate.smk: what each part of HeadHunt is worth."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hhvad.methods.headhunt.ablate import Fitted


def add_commands(commands: Any) -> None:
    """Add fit-variants, score-variants and ablate-headhunt."""
    p = commands.add_parser(
        "fit-variants",
        help="fit every variant of a HeadHunt",
        description="Choose heads and fit scorers of all variants on the calibration videos.",
    )
    p.add_argument("--saliency", nargs="+", required=True, metavar="H5", help="one per prompt")
    p.add_argument("--features", nargs="+", required=True, metavar="H5", help="calibration videos'")
    p.add_argument("--labels", nargs="*", default=[], metavar="LABEL", help="one per video")
    p.add_argument("--segment-labels", metavar="TSV", help="instead, from label-segments")
    p.add_argument("--online", required=True, metavar="PROMPT", help="which one videos are asked")
    p.add_argument(
        "--oracle",
        action="store_true",
        help="each prompt used alone instead of the variants; --features are of all prompts",
    )
    p.add_argument("--count", type=int, required=True, help="K")
    p.add_argument("--penalty", type=float, required=True, help="lambda")
    p.add_argument("--counts", nargs="+", type=int, required=True, help="of the sweep")
    p.add_argument("--penalties", nargs="+", type=float, required=True, help="of the sweep")
    p.add_argument("--kind", required=True, help="of scorer")
    p.add_argument("--seed", type=int, required=True, help="of scorers and random heads")
    p.add_argument("--share", type=float, required=True, help="of samples that scorers see")
    p.add_argument("--out", required=True, metavar="H5")
    p.set_defaults(run=_fit)

    p = commands.add_parser(
        "score-variants",
        help="the scores of a video by every variant",
        description="Read a video's features once and score them by every variant.",
    )
    p.add_argument("--variants", required=True, metavar="H5", help="from fit-variants")
    p.add_argument("--features", nargs="+", required=True, metavar="H5", help="one per prompt")
    p.add_argument("--out", required=True, metavar="TSV", help="a column per variant")
    p.set_defaults(run=_score)

    p = commands.add_parser(
        "ablate-headhunt",
        help="AUC, AP, F1 and events of every variant, with intervals",
        description="Judge every variant on the annotated test videos.",
    )
    p.add_argument("--variants", required=True, metavar="H5", help="from fit-variants")
    p.add_argument("--locator", required=True, metavar="JSON", help="the method's")
    p.add_argument("--sheet", required=True, metavar="TSV", help="the sample sheet")
    p.add_argument("--scores-folder", required=True, metavar="DIR", help="from score-variants")
    p.add_argument("--probes-folder", required=True, metavar="DIR", help="with VIDEO.json")
    p.add_argument("--interval", choices=("half-open", "inclusive"), required=True)
    p.add_argument("--bootstrap", type=int, required=True, metavar="N", help="resamples")
    p.add_argument("--seed", type=int, required=True, help="of the resamples")
    p.add_argument("--out", required=True, metavar="TSV")
    p.add_argument("--json", required=True, metavar="JSON")
    p.add_argument("--markdown", required=True, metavar="MD")
    p.add_argument("--sweep", metavar="SVG", help="K and lambda; not with the oracle prompt")
    p.set_defaults(run=_ablate)


def _fit(arguments: Namespace) -> None:
    import numpy as np

    from hhvad.artifacts import hdf5
    from hhvad.errors import ConfigError
    from hhvad.methods.headhunt import ablate, rhi, samples

    saliencies = samples.read_saliencies(arguments.saliency)
    normalised = rhi.normalise(np.stack([file["saliency"] for file in saliencies]))
    prompts = [file.provenance["prompt"] for file in saliencies]
    if arguments.online not in prompts:
        raise ConfigError(f"--online is {arguments.online!r}; --saliency has {', '.join(prompts)}")
    if arguments.oracle:
        chosen = ablate.prompt_variants(
            normalised, prompts, count=arguments.count, kind=arguments.kind
        )
    else:
        chosen = ablate.variants(
            normalised,
            prompts,
            arguments.online,
            count=arguments.count,
            penalty=arguments.penalty,
            kind=arguments.kind,
            counts=arguments.counts,
            penalties=arguments.penalties,
            seed=arguments.seed,
        )
    heads = ablate.all_heads(chosen)
    files: dict[str, list[hdf5.Artifact]] = {}
    for path in arguments.features:
        file = hdf5.head_features(path, heads)
        files.setdefault(str(file.provenance.get("prompt")), []).append(file)
    features = {}
    for prompt in {one.prompt: None for one in chosen}:
        if prompt not in files:
            raise ConfigError(f"--features: no file is of prompt {prompt!r}")
        hdf5.require_same(files[prompt], samples.SAME_PROMPT)
        hdf5.require_same([saliencies[0], files[prompt][0]], samples.SAME_CAPTURE)
        features[prompt], labels, _ = samples.join_samples(
            files[prompt], arguments.labels, arguments.segment_labels
        )
    fitted = ablate.fit(chosen, features, labels, seed=arguments.seed, share=arguments.share)
    provenance = {
        **samples.carried(saliencies[0], samples.SAME_CAPTURE),
        "prompt_texts": {prompt: files[prompt][0].provenance["prompt_text"] for prompt in features},
        "variants": fitted.described(),
        "oracle": arguments.oracle,
        "seed": arguments.seed,
        "share": arguments.share,
    }
    hdf5.write(arguments.out, "variants", fitted.arrays(), provenance)


def _read_variants(path: str) -> tuple[Fitted, dict[str, Any]]:
    """Fitted variants and where they come from."""
    from hhvad.artifacts import hdf5
    from hhvad.methods.headhunt.ablate import Fitted

    file = hdf5.read(path, "variants")
    return Fitted.restore(file.provenance["variants"], file.arrays), file.provenance


def _score(arguments: Namespace) -> None:
    from hhvad.artifacts import hdf5
    from hhvad.errors import ArtifactError
    from hhvad.files import write_tsv
    from hhvad.methods.headhunt import ablate

    fitted, provenance = _read_variants(arguments.variants)
    files = [hdf5.head_features(path, fitted.heads) for path in arguments.features]
    hdf5.require_same(files, ("video", "model", "revision", "commit", "fingerprint", "dtype"))
    by_prompt = {str(file.provenance["prompt"]): file for file in files}
    for prompt, text in provenance["prompt_texts"].items():
        file = by_prompt.get(prompt)
        if file is None or file.provenance["prompt_text"] != text:
            raise ArtifactError(
                f"{arguments.variants}: prompt {prompt!r} with its wording is not that of "
                f"{arguments.features[0]}; delete the older one and rerun"
            )
        for key in ("model", "revision", "commit", "fingerprint", "dtype"):
            if file.provenance.get(key) != provenance.get(key):
                raise ArtifactError(
                    f"{file.path}: {key} is {file.provenance.get(key)!r}, but "
                    f"{arguments.variants} has {provenance.get(key)!r}; delete the older one and "
                    "rerun"
                )
    scores = fitted.score({name: file["features"] for name, file in by_prompt.items()})
    bounds = files[0]["segments"].tolist()
    columns = [values.tolist() for values in scores]
    table = [(*bound, *row) for bound, *row in zip(bounds, *columns, strict=True)]
    names = [ablate.column(one) for one in fitted.variants]
    write_tsv(arguments.out, ("start_frame", "end_frame", *names), table)


def _ablate(arguments: Namespace) -> None:
    from hhvad import sheet
    from hhvad.artifacts import probe, scores
    from hhvad.errors import SheetError
    from hhvad.evaluation import evaluate
    from hhvad.figures import plots
    from hhvad.files import write_json, write_text, write_tsv
    from hhvad.localization import locator_file
    from hhvad.methods.headhunt import ablate

    fitted, provenance = _read_variants(arguments.variants)
    names = [ablate.column(one) for one in fitted.variants]
    videos = []
    for video in sheet.read(arguments.sheet):
        if video.split != "test" or video.events is None:
            continue
        info = probe.read(Path(arguments.probes_folder) / f"{video.video}.json")
        path = Path(arguments.scores_folder) / f"{video.video}.tsv"
        bounds, columns = scores.read_video(path, names)
        events = sheet.event_frames(video, info)
        one = ablate.Tested(
            video=video.video,
            label=str(video.label),
            camera=video.camera,
            events=evaluate.events_in(events, info.frames, arguments.interval),
            bounds=bounds,
            scores=tuple(columns),
        )
        videos.append(one)
    if not videos:
        raise SheetError(
            f"{arguments.sheet}: no test video has an annotation to measure against; fill `events`"
        )
    locator = locator_file.read(arguments.locator)
    oracle = provenance["oracle"]
    judge = ablate.oracle_table if oracle else ablate.table
    rows = judge(
        fitted.variants, videos, locator, resamples=arguments.bootstrap, seed=arguments.seed
    )
    notes = [f"The oracle prompt is {ablate.FLAG}."] if oracle else []
    notes += ablate.NOTES
    write_tsv(arguments.out, ablate.COLUMNS, rows)
    result = {
        "model": provenance.get("model"),
        "locator": locator.to_json(),
        "interval": arguments.interval,
        "videos": len(videos),
        "rows": [dict(zip(ablate.COLUMNS, row, strict=True)) for row in rows],
        "variants": fitted.described(),
        "notes": notes,
    }
    write_json(arguments.json, result)
    write_text(arguments.markdown, ablate.markdown(rows, notes))
    if arguments.sweep:
        sweep = [row for row in result["rows"] if row["part"] == ablate.SWEEP]
        plots.save(plots.sweep(sweep), arguments.sweep)
