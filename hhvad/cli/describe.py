"""Commands of rules/describe.smk: frames to look at, and what is said of them."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from hhvad.cli.models import _add_model, _ask, _positive

LEVELS = {"describe-clips": "clip", "describe-events": "event", "describe-video": "video"}


def add_commands(commands: Any) -> None:
    """Add sample-focus, sample-clips, the three levels, and report-descriptions."""
    p = commands.add_parser(
        "sample-focus",
        help="choose the frames of a video by its scores",
        description="Choose N frames of each clip of an event, of each event and of the video: "
        "more of them where scores are high.",
    )
    p.add_argument("--events", required=True, metavar="JSON", help="from localize-events")
    p.add_argument("--scores", required=True, metavar="TSV", help="of any method")
    p.add_argument("--probe", required=True, metavar="JSON")
    p.add_argument("--frames", required=True, type=_positive, metavar="N")
    p.add_argument("--floor", required=True, choices=("share", "absolute"))
    p.add_argument("--floor-value", required=True, type=float, metavar="X")
    p.add_argument("--distinct", required=True, choices=("yes", "no"), help="no frame twice")
    for name in ("clip", "margin", "merge"):
        p.add_argument(f"--{name}-seconds", required=True, type=float, metavar="S")
    p.add_argument("--out", required=True, metavar="TSV")
    p.set_defaults(run=_sample_focus)

    p = commands.add_parser("sample-clips", help="decode the frames that sample-focus chose")
    p.add_argument("--video", required=True, metavar="ID")
    p.add_argument("--path", required=True, help="the video file")
    p.add_argument("--probe", required=True, metavar="JSON")
    p.add_argument("--focus", required=True, metavar="TSV", help="from sample-focus")
    p.add_argument("--size", type=_positive, nargs=2, required=True, metavar=("HEIGHT", "WIDTH"))
    p.add_argument("--threads", type=_positive, required=True, metavar="N")
    p.add_argument("--mask", metavar="POLYGONS", help="what is hidden, as JSON")
    p.add_argument("--timeout", type=float, required=True, metavar="SECONDS")
    p.add_argument("--out", required=True, metavar="H5")
    p.set_defaults(run=_sample_clips)

    for name, level in LEVELS.items():
        p = commands.add_parser(
            name,
            help=f"have a model describe the {level}{'' if level == 'video' else 's'}",
            description="Ask a model each question, greedily. An answer that an earlier run has "
            "kept to the same question about the same frames is taken over.",
        )
        p.add_argument("--focus", required=True, metavar="TSV", help="from sample-focus")
        p.add_argument("--frames", required=True, type=Path, metavar="H5", help="of sample-clips")
        p.add_argument("--hierarchy", required=True, choices=("joint", "frames", "texts"))
        if level == "clip":
            p.add_argument("--clip", required=True, metavar="TEXT", help="the question")
        else:
            p.add_argument("--lower", required=True, nargs="+", metavar="JSONL", help="texts below")
            for question in ("judgement", "description", "analysis"):
                p.add_argument(f"--{question}", required=True, metavar="TEXT", help="the question")
            p.add_argument("--parts", required=True, metavar="TEXT", help="before texts from below")
        _add_model(p)
        p.add_argument("--system", required=True, metavar="TEXT", help="may be empty")
        p.add_argument("--max-tokens", required=True, type=_positive, metavar="N")
        p.add_argument("--kept", required=True, type=Path, metavar="JSONL", help="of earlier runs")
        p.add_argument("--out", required=True, type=Path, metavar="JSONL")
        p.set_defaults(run=_describe, level=level)

    p = commands.add_parser(
        "report-descriptions", help="events with their sentences, and what is said of the video"
    )
    p.add_argument("--events", required=True, metavar="JSON", help="from localize-events")
    p.add_argument("--focus", required=True, metavar="TSV", help="from sample-focus")
    p.add_argument("--texts", required=True, nargs="+", metavar="JSONL", help="of the levels")
    p.add_argument("--probe", required=True, metavar="JSON")
    p.add_argument("--out-json", required=True, metavar="JSON")
    p.add_argument("--out-table", required=True, metavar="TSV")
    p.set_defaults(run=_report_descriptions)


def _events(path: str) -> list[dict[str, Any]]:
    """The events of a file of localize-events."""
    from hhvad.errors import ArtifactError
    from hhvad.files import read_json

    data = read_json(path)
    try:
        events: list[dict[str, Any]] = data["events"]
        for event in events:
            event["start_frame"], event["end_frame"] = (
                int(event["start_frame"]),
                int(event["end_frame"]),
            )
    except (KeyError, TypeError, ValueError) as error:
        raise ArtifactError(f"{path}: not a file of localize-events; delete and rerun") from error
    return events


def _sample_focus(arguments: argparse.Namespace) -> None:
    from hhvad.artifacts import probe, scores
    from hhvad.cli.locate import require_fit
    from hhvad.describe import plan
    from hhvad.describe.focus import Floor, choose

    video = probe.read(arguments.probe)
    found = scores.read(arguments.scores)
    require_fit(arguments.scores, found.bounds, arguments.probe, video)
    events = [(event["start_frame"], event["end_frame"]) for event in _events(arguments.events)]
    picked = []
    for unit in plan.units(
        plan.merged(events, video.seconds, arguments.merge_seconds, video.damaged),
        video.frames,
        video.seconds,
        video.frame,
        clip_seconds=arguments.clip_seconds,
        margin_seconds=arguments.margin_seconds,
    ):
        focus = choose(
            found.bounds,
            found.scores,
            (unit.start, unit.end),
            arguments.frames,
            Floor(arguments.floor, arguments.floor_value),
            distinct=arguments.distinct == "yes",
        )
        frames = focus.frames.tolist()
        seconds = [round(video.seconds(frame), 6) for frame in frames]
        picked.append(
            plan.Picked(unit, focus.dense.tolist(), frames, seconds, focus.scores.tolist())
        )
    plan.write(arguments.out, picked)


def _sample_clips(arguments: argparse.Namespace) -> None:
    from hhvad import masks
    from hhvad.artifacts import probe
    from hhvad.describe import plan
    from hhvad.media.probe import sample_frames

    picked = plan.read(arguments.focus)
    sample_frames(
        arguments.path,
        probe.read(arguments.probe),
        arguments.out,
        video=arguments.video,
        view="focus",
        frames_per_segment=len(picked[0].frames),
        segment_length=0,
        size=arguments.size,
        threads=arguments.threads,
        timeout=arguments.timeout,
        mask=masks.from_text(arguments.mask),
        spans=[[one.unit.start, one.unit.end] for one in picked],
        picked=[one.frames for one in picked],
    )


def _describe(arguments: argparse.Namespace) -> None:
    from hhvad import checkpoint
    from hhvad.artifacts import texts
    from hhvad.artifacts.hdf5 import open_artifact
    from hhvad.describe import ask, plan
    from hhvad.files import digest, write_text

    with open_artifact(arguments.frames, "frames") as (_, given):
        named = ("source", "size", "resize", "decoder", *(["mask"] if "mask" in given else []))
        shown = {name: given[name] for name in named}
    picked = plan.read(arguments.focus)
    has_events = any(one.unit.level == "event" for one in picked)
    levels = {arguments.level}
    if arguments.level == "clip" and arguments.hierarchy == "texts" and not has_events:
        levels.add("video")  # the only text that there is of it
    lower = [
        ask.Answered(**row)
        for path in (arguments.lower if arguments.level != "clip" else [])
        for row in texts.read(path, "descriptions").rows
    ]
    wordings = {question: getattr(arguments, question) for question in ask.ASKED[arguments.level]}
    answerer = [checkpoint.stamp(arguments.model), arguments.revision, arguments.dtype]
    known = _kept(arguments.kept)
    rows: list[dict[str, Any]] = []
    asked: list[dict[str, Any]] = []
    for segment, one in enumerate(picked):
        if one.unit.level not in levels:
            continue
        parts = [] if arguments.hierarchy == "frames" else ask.parts_of(one.unit, lower)
        looks = not (parts and arguments.hierarchy == "texts")
        for name, question in wordings.items():
            text = ask.prompt(question, getattr(arguments, "parts", ""), parts)
            seen = [shown, one.frames] if looks else None
            key = digest([answerer, arguments.system, text, arguments.max_tokens, seen])
            row = {**one.unit._asdict(), "question": name, "key": key}
            if key in known:
                row |= {field: known[key][field] for field in ("answer", "tokens", "cut")}
            else:
                about = segment if looks else None
                asked.append({"row": len(rows), "segment": about, "prompt": text})
            rows.append(row)
    provenance = {
        "video": given["video"],
        "source": given["source"],
        "model": arguments.model_name,
        "revision": arguments.revision or None,
        "fingerprint": answerer[0],
        "dtype": arguments.dtype,
        "hierarchy": arguments.hierarchy,
        "system": arguments.system,
        "max_tokens": arguments.max_tokens,
        "questions": wordings,
    }
    print(f"{len(asked)} of {len(rows)} questions are new", file=sys.stderr)
    if asked:
        job = {
            "frames": str(arguments.frames.absolute()),
            "out": str(arguments.out.absolute()),
            "schema": "descriptions",
            "rows": rows,
            "questions": asked,
            "provenance": provenance,
            "system": arguments.system,
            "max_tokens": arguments.max_tokens,
        }
        _ask(arguments, {"task": "describe", "about": job["frames"], **job})
    else:
        sorted_rows = ({name: row[name] for name in sorted(row)} for row in rows)
        texts.write(arguments.out, "descriptions", sorted_rows, provenance)
    write_text(arguments.kept, arguments.out.read_text(encoding="utf-8"))


def _kept(path: Path) -> dict[str, dict[str, Any]]:
    """The answers of an earlier run by key; none where the file is absent or damaged."""
    from hhvad.artifacts import texts
    from hhvad.errors import ArtifactError

    try:
        return {row["key"]: row for row in texts.read(path, "descriptions").rows}
    except (ArtifactError, KeyError):
        return {}


def _report_descriptions(arguments: argparse.Namespace) -> None:
    from hhvad.artifacts import probe, texts
    from hhvad.describe import ask, plan, report
    from hhvad.files import read_json, write_json, write_tsv

    video = probe.read(arguments.probe)
    events = _events(arguments.events)
    files = [texts.read(path, "descriptions") for path in arguments.texts]
    texts.check_same(files, ("video", "source"))
    said = [ask.Answered(**row) for file in files for row in file.rows]
    merged = report.groups(plan.read(arguments.focus))
    about = read_json(arguments.events)
    result = report.summary(events, merged, said, video.seconds)
    write_json(arguments.out_json, {"video": about["video"], "method": about["method"], **result})
    columns = ("start_frame", "end_frame", "start_seconds", "end_seconds", "peak_score")
    answers = ("agreement", *ask.ASKED["event"])
    rows = [[about["video"], *(e[name] for name in (*columns, *answers))] for e in result["events"]]
    write_tsv(arguments.out_table, ("video", *columns, *answers), rows)
