"""Commands of rules/methods/lavad_ablate.smk: what each step of LAVAD is worth."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Any

RAW, EACH = "raw captions", "each caption rated, no summaries"


def add_commands(commands: Any) -> None:
    """Add the commands from raw-captions to ablate-lavad."""
    p = commands.add_parser("raw-captions", help="windows with their captions as they were written")
    p.add_argument("--cleaned", required=True, metavar="JSONL", help="from clean-captions")
    p.add_argument("--captions", required=True, metavar="JSONL", help="of the first captioner")
    p.add_argument("--out", required=True, metavar="JSONL")
    p.set_defaults(run=_raw_captions)

    p = commands.add_parser("list-captions", help="each cleaned caption as a summary of its own")
    p.add_argument("--cleaned", required=True, metavar="JSONL", help="from clean-captions")
    p.add_argument("--out", required=True, metavar="JSONL")
    p.set_defaults(run=_list_captions)

    p = commands.add_parser("score-ablations", help="the scores of a video by every variant")
    p.add_argument("--ratings", required=True, metavar="TSV", help="from read-ratings")
    p.add_argument("--raw-ratings", required=True, metavar="TSV", help="of raw captions")
    p.add_argument("--caption-ratings", required=True, metavar="TSV", help="of each caption")
    p.add_argument("--cleaned", required=True, metavar="JSONL")
    p.add_argument("--frame-vectors", required=True, metavar="H5")
    p.add_argument("--summary-vectors", required=True, metavar="H5")
    p.add_argument("--probe", required=True, metavar="JSON")
    p.add_argument("--stride", required=True, type=int, metavar="FRAMES")
    p.add_argument("--window-vector", required=True, choices=("mean", "ends"))
    p.add_argument("--share", required=True, type=float)
    p.add_argument("--out", required=True, metavar="TSV", help="a column per variant")
    p.set_defaults(run=_score_ablations)

    p = commands.add_parser(
        "ablate-lavad",
        help="AUC and AP of every variant, with intervals",
        description="Judge the unsmoothed scores of every variant on the labelled test videos.",
    )
    p.add_argument("--sheet", required=True, metavar="TSV", help="the sample sheet")
    p.add_argument("--scores-folder", required=True, metavar="DIR", help="from score-ablations")
    p.add_argument("--probes-folder", required=True, metavar="DIR", help="with VIDEO.json")
    p.add_argument("--interval", choices=("half-open", "inclusive"), required=True)
    p.add_argument("--out", required=True, metavar="TSV")
    p.set_defaults(run=_ablate)


def _raw_captions(arguments: Namespace) -> None:
    from hhvad.artifacts import texts
    from hhvad.methods.lavad.ablate import raw_captions

    file = texts.read(arguments.cleaned, "cleaned")
    said = {row["start"]: row["text"] for row in texts.read(arguments.captions, "texts").rows}
    found = raw_captions([row["frames"] for row in file.rows], said)
    rows = [{**row, "texts": given} for row, given in zip(file.rows, found, strict=True)]
    texts.write(arguments.out, "cleaned", rows, {**file.provenance, "cleaned": False})


def _list_captions(arguments: Namespace) -> None:
    from hhvad.artifacts import texts

    file = texts.read(arguments.cleaned, "cleaned")
    rows = [
        {"centre": row["centre"], "answer": "", "text": text}
        for row in file.rows
        for text in row["texts"]
    ]
    texts.write(arguments.out, "summaries", rows, {**file.provenance, "summaries_cut": 0})


def _score_ablations(arguments: Namespace) -> None:
    import numpy as np

    from hhvad.artifacts import hdf5, probe, texts
    from hhvad.files import read_tsv, write_tsv
    from hhvad.methods.lavad import ablate, refine
    from hhvad.methods.lavad.index import unit
    from hhvad.methods.lavad.windows import Windows

    def numbers(path: str) -> Any:
        rows = read_tsv(path, ("centre", "score"))
        centres = np.array([int(row["centre"]) for row in rows])
        return ablate.means_of(centres, np.array([float(row["score"]) for row in rows]))

    scores = numbers(arguments.ratings)
    frames = hdf5.read(arguments.frame_vectors, "vectors", ("vectors", "indices"))
    known = hdf5.read(arguments.summary_vectors, "vectors", ("vectors", "first"))
    hdf5.require_same([frames, known], ("video", "fingerprint"))
    rows = texts.read(arguments.cleaned, "cleaned").rows
    cut = Windows(
        np.array([row["centre"] for row in rows]), [np.array(row["frames"]) for row in rows]
    )
    vectors = unit(frames["vectors"], arguments.frame_vectors)
    found = ablate.refined_variants(
        refine.window_vectors(cut, frames["indices"], vectors, of=arguments.window_vector),
        unit(known["vectors"], arguments.summary_vectors),
        scores[known["first"]],
        scores,
        share=arguments.share,
    )
    found[RAW] = numbers(arguments.raw_ratings)
    found[EACH] = numbers(arguments.caption_ratings)
    video = probe.read(arguments.probe)
    bounds = refine.segments(video.frames, arguments.stride, video.damaged).tolist()
    columns = [np.clip(values, 0, 1).tolist() for values in found.values()]
    table = [(*bound, *row) for bound, *row in zip(bounds, *columns, strict=True)]
    write_tsv(arguments.out, ("start_frame", "end_frame", *found), table)


def _ablate(arguments: Namespace) -> None:
    from hhvad import sheet
    from hhvad.artifacts import probe, scores
    from hhvad.evaluation import evaluate
    from hhvad.files import read_tsv, write_tsv

    videos: dict[str, list[evaluate.Scored]] = {}
    for video in sheet.read(arguments.sheet):
        if video.split != "test" or video.events is None:
            continue
        info = probe.read(Path(arguments.probes_folder) / f"{video.video}.json")
        path = Path(arguments.scores_folder) / f"{video.video}.tsv"
        names = [name for name in read_tsv(path)[0] if name not in ("start_frame", "end_frame")]
        events = sheet.event_frames(video, info)
        bounds, columns = scores.read_video(path, names)
        for name, column in zip(names, columns, strict=True):
            one = evaluate.Scored(
                video=video.video,
                label=str(video.label),
                categories=evaluate.parse_categories(video.category),
                n_frames=info.frames,
                events=evaluate.events_in(events, info.frames, arguments.interval),
                bounds=bounds,
                scores=column,
            )
            videos.setdefault(name, []).append(one)
    rows = []
    for name, scored in videos.items():
        found = evaluate.evaluate(scored, interval=arguments.interval, resamples=0)["metrics"]
        row: list[Any] = [name]
        for metric in ("auc", "ap_step", "auc_abnormal"):
            row += [found[metric].get(key, "") for key in ("value", "low", "high")]
        rows.append(row)
    header = [
        f"{metric}{end}"
        for metric in ("auc", "ap_step", "auc_abnormal")
        for end in ("", "_low", "_high")
    ]
    write_tsv(arguments.out, ("variant", *header), rows)
