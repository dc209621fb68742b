"""Commands of stage lavad: the light steps between captions, questions to the LLM, and scores."""

from __future__ import annotations

from argparse import Namespace
from typing import Any


def add_commands(commands: Any) -> None:
    """Add this stage's commands."""
    p = commands.add_parser("clean-captions", help="give each frame its nearest caption")
    p.add_argument("--captions", nargs="+", required=True, metavar="JSONL", help="per captioner")
    p.add_argument("--caption-vectors", nargs="+", required=True, metavar="H5", help="of each")
    p.add_argument("--frame-vectors", required=True, metavar="H5")
    p.add_argument("--probe", required=True, metavar="JSON")
    p.add_argument("--fps", type=float, help="instead of the video's own")
    p.add_argument("--stride", required=True, type=int, metavar="FRAMES")
    p.add_argument("--seconds", required=True, type=float, help="length of a window")
    p.add_argument("--samples", required=True, type=int, help="frames per window")
    p.add_argument("--on", required=True, choices=("grid", "exact"))
    p.add_argument("--keep", required=True, choices=("all", "after-colon"))
    p.add_argument("--out", required=True, metavar="JSONL")
    p.set_defaults(run=_clean_captions)

    p = commands.add_parser("ask-summaries", help="write each distinct question for a summary once")
    p.add_argument("--cleaned", required=True, metavar="JSONL")
    p.add_argument("--prompts", required=True, metavar="YAML")
    p.add_argument("--out", required=True, metavar="JSONL")
    p.set_defaults(run=_ask_summaries)

    p = commands.add_parser("read-summaries", help="give each window its summary")
    p.add_argument("--cleaned", required=True, metavar="JSONL")
    p.add_argument("--answers", required=True, metavar="JSONL")
    p.add_argument("--exact", action="store_true", help="keep what the official code keeps")
    p.add_argument("--out", required=True, metavar="JSONL")
    p.set_defaults(run=_read_summaries)

    p = commands.add_parser("ask-ratings", help="write each distinct question for a number once")
    p.add_argument("--summaries", required=True, metavar="JSONL")
    p.add_argument("--prompts", required=True, metavar="YAML")
    p.add_argument("--rating", required=True, help="key of the context in the prompts")
    p.add_argument("--out", required=True, metavar="JSONL")
    p.set_defaults(run=_ask_ratings)

    p = commands.add_parser("read-ratings", help="read the number of each window")
    p.add_argument("--summaries", required=True, metavar="JSONL")
    p.add_argument("--answers", required=True, metavar="JSONL")
    p.add_argument("--video", required=True, metavar="ID")
    p.add_argument("--out", required=True, metavar="TSV")
    p.set_defaults(run=_read_ratings)

    p = commands.add_parser("refine-scores", help="correct each window's score by similar windows")
    p.add_argument("--ratings", required=True, metavar="TSV")
    p.add_argument("--cleaned", required=True, metavar="JSONL", help="for the windows' frames")
    p.add_argument("--frame-vectors", required=True, metavar="H5")
    p.add_argument("--probe", required=True, metavar="JSON")
    p.add_argument("--stride", required=True, type=int, metavar="FRAMES")
    p.add_argument(
        "--share", required=True, type=float, help="of the video's windows; 0: no change"
    )
    p.add_argument("--temperature", required=True, type=float)
    p.add_argument("--out", required=True, metavar="TSV")
    p.set_defaults(run=_refine_scores)


def _clean_captions(arguments: Namespace) -> None:
    import numpy as np

    from hhvad.artifacts import hdf5, probe, texts
    from hhvad.errors import ConfigError
    from hhvad.methods.lavad.clean import nearest_captions
    from hhvad.methods.lavad.index import unique_texts, unit
    from hhvad.methods.lavad.windows import windows

    if len(arguments.captions) != len(arguments.caption_vectors):
        raise ConfigError("--captions and --caption-vectors need one file per captioner each")
    video = probe.read(arguments.probe)
    files = [texts.read(path, "texts") for path in arguments.captions]
    vectors: dict[str, Any] = {}
    for file, path in zip(files, arguments.caption_vectors, strict=True):
        known = list(dict.fromkeys(row["text"] for row in file.rows))
        vectors |= dict(zip(known, hdf5.read(path, "vectors")["vectors"], strict=True))
    said = {
        str(n): [(row["start"], row["text"]) for row in file.rows if row["text"].strip()]
        for n, file in enumerate(files)
    }
    entries = unique_texts(said)
    frames = hdf5.read(arguments.frame_vectors, "vectors")
    cut = windows(
        video.frames, arguments.fps or video.fps, stride=arguments.stride,
        seconds=arguments.seconds, samples=arguments.samples, on=arguments.on,
        times=None if arguments.fps else video.times,
    )  # fmt: skip
    found = nearest_captions(
        cut,
        frames["indices"],
        unit(frames["vectors"], arguments.frame_vectors),
        unit(np.stack([vectors[entry.text] for entry in entries])),
    )
    after = arguments.keep == "after-colon"
    kept = [e.text.partition(": ")[2] or e.text if after else e.text for e in entries]
    rows = [
        {
            "centre": int(centre),
            "frames": wanted.tolist(),
            "texts": [kept[i] for i in chosen],
            "cosines": cosines.tolist(),
        }
        for centre, wanted, chosen, cosines in zip(cut.centres, cut.frames, *found, strict=True)
    ]
    texts.write(arguments.out, "cleaned", rows, {"captions": [f.provenance for f in files]})


def _ask_summaries(arguments: Namespace) -> None:
    from hhvad.artifacts import texts
    from hhvad.methods.lavad.summarise import summarise_messages

    file = texts.read(arguments.cleaned, "cleaned")
    system = _wording(arguments.prompts, "summarise")
    rows = [
        {"id": str(number), "messages": summarise_messages(question, system)}
        for number, question in enumerate(dict.fromkeys(_questions(file.rows)))
    ]
    texts.write(arguments.out, "requests", rows, file.provenance)


def _read_summaries(arguments: Namespace) -> None:
    from hhvad.artifacts import texts
    from hhvad.methods.lavad.summarise import summary_of

    file = texts.read(arguments.cleaned, "cleaned")
    answers = _answers(arguments.answers, _questions(file.rows))
    rows = [
        {"centre": r["centre"], "answer": a, "summary": summary_of(a, exact=arguments.exact)}
        for r, a in zip(file.rows, answers, strict=True)
    ]
    texts.write(arguments.out, "summaries", rows, file.provenance)


def _ask_ratings(arguments: Namespace) -> None:
    from hhvad.artifacts import texts
    from hhvad.methods.lavad.prompts import Rating
    from hhvad.methods.lavad.rate import rate_messages, rated_text

    file = texts.read(arguments.summaries, "summaries")
    wording = Rating(
        _wording(arguments.prompts, arguments.rating), _wording(arguments.prompts, "format")
    )
    distinct = dict.fromkeys(row["summary"] for row in file.rows)
    rows = [
        {"id": str(number), "messages": rate_messages(rated_text(summary), wording)}
        for number, summary in enumerate(distinct)
    ]
    texts.write(arguments.out, "requests", rows, file.provenance)


def _read_ratings(arguments: Namespace) -> None:
    from hhvad.artifacts import texts
    from hhvad.files import write_tsv
    from hhvad.methods.lavad.rate import rate_windows, read_number

    file = texts.read(arguments.summaries, "summaries")
    answers = _answers(arguments.answers, [row["summary"] for row in file.rows])
    found = rate_windows([read_number(answer) for answer in answers], arguments.video)
    rows = [
        (row["centre"], " ".join(answer.split()), score, int(interpolated))
        for row, answer, score, interpolated in zip(
            file.rows, answers, found.scores.tolist(), found.interpolated, strict=True
        )
    ]
    write_tsv(arguments.out, ("centre", "answer", "score", "interpolated"), rows)


def _refine_scores(arguments: Namespace) -> None:
    import numpy as np

    from hhvad.artifacts import hdf5, probe, texts
    from hhvad.files import read_tsv, write_tsv
    from hhvad.methods.lavad import refine
    from hhvad.methods.lavad.index import unit
    from hhvad.methods.lavad.windows import Windows

    rows = read_tsv(arguments.ratings, ("centre", "score"))
    scores = np.array([float(row["score"]) for row in rows])
    if arguments.share:
        file = hdf5.read(arguments.frame_vectors, "vectors")
        cleaned = texts.read(arguments.cleaned, "cleaned").rows
        cut = Windows(
            np.array([row["centre"] for row in cleaned]), [np.array(r["frames"]) for r in cleaned]
        )
        vectors = unit(file["vectors"], arguments.frame_vectors)
        queries = refine.window_vectors(cut, file["indices"], vectors)
        scores = refine.by_windows(
            queries, scores, share=arguments.share, temperature=arguments.temperature
        )
    bounds = refine.segments(probe.read(arguments.probe).frames, arguments.stride)
    table = zip(bounds.tolist(), np.clip(scores, 0, 1).tolist(), strict=True)
    write_tsv(
        arguments.out,
        ("segment", "start_frame", "end_frame", "score"),
        [(n, start, end, score) for n, ((start, end), score) in enumerate(table)],
    )


def _questions(rows: list[dict[str, Any]]) -> list[str]:
    from hhvad.methods.lavad.summarise import join_captions

    return [join_captions(row["texts"]) for row in rows]


def _answers(path: str, questions: list[str]) -> list[str]:
    """The answer to each question; ids count the distinct ones in order of appearance."""
    from hhvad.artifacts import texts
    from hhvad.errors import ArtifactError

    said = {row["id"]: row["answer"] for row in texts.read(path, "answers").rows}
    ids = {question: str(n) for n, question in enumerate(dict.fromkeys(questions))}
    if set(said) != set(ids.values()):
        raise ArtifactError(f"{path}: answers other questions than were asked; delete it and rerun")
    return [said[ids[question]] for question in questions]


def _wording(path: str, key: str) -> str:
    import yaml

    from hhvad.errors import ConfigError
    from hhvad.files import read_text

    try:
        found = yaml.safe_load(read_text(path))[key]
    except (yaml.YAMLError, KeyError, TypeError) as error:
        raise ConfigError(f"{path}: key {key!r} is absent or the file is not YAML") from error
    if not isinstance(found, str) or not found.strip():
        raise ConfigError(f"{path}: {key} must be a text, not {found!r}")
    return found
