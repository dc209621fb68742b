"""Commands of rules/methods/lavad.smk: the light steps between what models say, and scores."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from typing import Any

from hhvad.cli.videos import add_fit

CUTS = ("summaries_cut", "captions_cut", "captions_cut_by_encoder")


def add_commands(commands: Any) -> None:
    """Add the commands from clean-captions to refine-scores."""
    p = commands.add_parser(
        "sample-windows",
        help="decode a video once and keep the frames of exact windows",
        description="Write each frame that some window needs once, resized, as HDF5.",
    )
    p.add_argument("--video", required=True, metavar="ID")
    p.add_argument("--path", required=True, help="the video file")
    p.add_argument("--probe", required=True, metavar="JSON", help="from probe-video")
    _add_windows(p)
    p.add_argument("--size", type=int, nargs=2, required=True, metavar=("HEIGHT", "WIDTH"))
    add_fit(p)
    p.add_argument("--threads", type=int, required=True, metavar="N", help="that decode")
    p.add_argument("--mask", metavar="POLYGONS", help="what is hidden, as JSON")
    p.add_argument("--timeout", type=float, required=True, metavar="SECONDS")
    p.add_argument("--out", required=True, metavar="H5")
    p.set_defaults(run=_sample_windows)

    p = commands.add_parser("clean-captions", help="give each frame its nearest caption")
    p.add_argument("--captions", nargs="+", required=True, metavar="JSONL", help="per captioner")
    p.add_argument("--caption-vectors", nargs="+", required=True, metavar="H5", help="of each")
    p.add_argument("--frame-vectors", required=True, metavar="H5", help="from embed-frames")
    p.add_argument("--probe", required=True, metavar="JSON")
    _add_windows(p)
    p.add_argument(
        "--on", required=True, choices=("grid", "exact"), help="which frames stand for a window"
    )
    p.add_argument("--out", required=True, metavar="JSONL")
    p.set_defaults(run=_clean_captions)

    p = commands.add_parser("ask-summaries", help="write each distinct question for a summary once")
    p.add_argument("--cleaned", required=True, metavar="JSONL", help="from clean-captions")
    p.add_argument("--system", required=True, metavar="TEXT", help="the system message")
    _add_each(p)
    p.add_argument("--out", required=True, metavar="JSONL")
    p.set_defaults(run=_ask_summaries)

    p = commands.add_parser("read-summaries", help="give each window its summary")
    p.add_argument("--cleaned", required=True, metavar="JSONL", help="from clean-captions")
    p.add_argument("--answers", required=True, metavar="JSONL", help="from complete-texts")
    p.add_argument("--out", required=True, metavar="JSONL")
    p.set_defaults(run=_read_summaries)

    p = commands.add_parser("ask-ratings", help="write each distinct question for a number once")
    p.add_argument("--summaries", required=True, metavar="JSONL", help="from read-summaries")
    p.add_argument("--context", required=True, metavar="TEXT", help="what the number means")
    p.add_argument("--format", required=True, metavar="TEXT", help="how to write it")
    _add_each(p)
    p.add_argument("--out", required=True, metavar="JSONL")
    p.set_defaults(run=_ask_ratings)

    p = commands.add_parser(
        "read-ratings",
        help="read the number of each window",
        description="Read the number of each window; those without a readable one are "
        "interpolated, marked in the table and counted.",
    )
    p.add_argument("--summaries", required=True, metavar="JSONL", help="from read-summaries")
    p.add_argument("--answers", required=True, metavar="JSONL", help="from complete-texts")
    p.add_argument("--video", required=True, metavar="ID")
    p.add_argument("--out", required=True, metavar="TSV")
    p.add_argument("--out-counts", required=True, metavar="JSON", help="what was not readable, cut")
    p.set_defaults(run=_read_ratings)

    p = commands.add_parser("refine-scores", help="correct each window's score by similar windows")
    p.add_argument("--ratings", required=True, metavar="TSV", help="from read-ratings")
    p.add_argument("--cleaned", required=True, metavar="JSONL", help="for the windows' frames")
    p.add_argument("--frame-vectors", required=True, metavar="H5", help="from embed-frames")
    p.add_argument("--summary-vectors", metavar="H5", help="from embed-texts; among summaries")
    p.add_argument("--probe", required=True, metavar="JSON")
    p.add_argument("--stride", required=True, type=int, metavar="FRAMES")
    p.add_argument("--window-vector", required=True, choices=("mean", "ends"))
    p.add_argument("--among", required=True, choices=("windows", "summaries", "none"))
    p.add_argument("--count", required=True, type=int, metavar="K", help="among summaries")
    p.add_argument("--share", required=True, type=float, help="of the windows, among windows")
    p.add_argument("--temperature", required=True, type=float, help="of the softmax over cosines")
    p.add_argument("--out", required=True, metavar="TSV")
    p.set_defaults(run=_refine_scores)


def _add_windows(p: Any) -> None:
    p.add_argument("--fps", type=float, help="instead of the video's own")
    p.add_argument("--stride", required=True, type=int, metavar="FRAMES")
    p.add_argument("--seconds", required=True, type=float, help="length of a window")
    p.add_argument("--samples", required=True, type=int, help="frames per window")


def _add_each(p: Any) -> None:
    p.add_argument(
        "--each",
        required=True,
        choices=("question", "window"),
        help="what is asked once: a question (windows of the same texts share the answer), or a "
        "window (answers are sampled)",
    )


def _sample_windows(arguments: Namespace) -> None:
    from hhvad import masks
    from hhvad.artifacts import probe
    from hhvad.media.probe import sample_frames

    video = probe.read(arguments.probe)
    wanted = _windows(arguments, video, "exact").wanted().tolist()
    sample_frames(
        arguments.path,
        video,
        arguments.out,
        video=arguments.video,
        view="windows",
        frames_per_segment=1,
        segment_length=arguments.stride,
        size=arguments.size,
        threads=arguments.threads,
        timeout=arguments.timeout,
        mask=masks.from_text(arguments.mask),
        fit=arguments.fit,
        spans=[(frame, frame + 1) for frame in wanted],
        picked=[(frame,) for frame in wanted],
    )


def _windows(arguments: Namespace, video: Any, on: str) -> Any:
    """The windows of a video (its probe)."""
    from hhvad.methods.lavad.windows import windows

    return windows(
        video.frames, arguments.fps or video.fps, stride=arguments.stride,
        seconds=arguments.seconds, samples=arguments.samples, on=on,
        times=None if arguments.fps else video.times, damaged=video.damaged,
    )  # fmt: skip


def _clean_captions(arguments: Namespace) -> None:
    import numpy as np

    from hhvad.artifacts import hdf5, probe, texts
    from hhvad.errors import ArtifactError, ConfigError
    from hhvad.methods.lavad.clean import nearest_captions
    from hhvad.methods.lavad.index import unique_texts, unit

    if len(arguments.captions) != len(arguments.caption_vectors):
        raise ConfigError("--captions and --caption-vectors need one file per captioner each")
    video = probe.read(arguments.probe)
    captions = [texts.read(path, "texts") for path in arguments.captions]
    frames = hdf5.read(arguments.frame_vectors, "vectors", ("vectors", "indices"))
    embedded = [
        hdf5.read(path, "vectors", ("vectors", "cut")) for path in arguments.caption_vectors
    ]
    hdf5.require_same([frames, *embedded], ("video", "fingerprint"))
    known = [text for f in captions for text in dict.fromkeys(row["text"] for row in f.rows)]
    vectors = np.concatenate([file["vectors"] for file in embedded])
    if len(known) != len(vectors):
        raise ArtifactError(
            f"{embedded[0].path}: vectors of {len(vectors)} captions, but {captions[0].path} has "
            f"{len(known)}; delete the older one and rerun"
        )
    row_of = {text: row for row, text in enumerate(known)}
    said = {
        str(n): [(row["start"], row["text"]) for row in file.rows if row["text"].strip()]
        for n, file in enumerate(captions)
    }
    entries = unique_texts(said)
    cut = _windows(arguments, video, arguments.on)
    found = nearest_captions(
        cut,
        frames["indices"],
        unit(frames["vectors"], arguments.frame_vectors),
        unit(vectors[np.array([row_of[e.text] for e in entries], np.int64)], "caption vectors"),
    )
    rows = [
        {
            "centre": int(centre),
            "frames": wanted.tolist(),
            "texts": [entries[i].text for i in chosen],
            "cosines": cosines.tolist(),
        }
        for centre, wanted, chosen, cosines in zip(cut.centres, cut.frames, *found, strict=True)
    ]
    provenance = {
        "video": frames.provenance["video"],
        "captions": [file.provenance for file in captions],
        "frame_vectors": frames.provenance,
        "captions_cut": sum(row["cut"] for file in captions for row in file.rows),
        "captions_cut_by_encoder": int(sum(file["cut"].sum() for file in embedded)),
        "stride": arguments.stride,
        "seconds": arguments.seconds,
        "samples": arguments.samples,
        "window_frames": arguments.on,
    }
    texts.write(arguments.out, "cleaned", rows, provenance)


def _ask_summaries(arguments: Namespace) -> None:
    from hhvad.artifacts import texts
    from hhvad.methods.lavad.summarise import summarise_messages

    file = texts.read(arguments.cleaned, "cleaned")
    rows = [
        {"id": name, "messages": summarise_messages(question, arguments.system)}
        for name, question in _asked(_questions(file.rows), arguments.each)
    ]
    texts.write(arguments.out, "requests", rows, file.provenance)


def _read_summaries(arguments: Namespace) -> None:
    from hhvad.artifacts import texts
    from hhvad.methods.lavad.summarise import summary_of

    file = texts.read(arguments.cleaned, "cleaned")
    answers = texts.read(arguments.answers, "answers")
    found = _answers(answers, _questions(file.rows))
    rows = [
        {"centre": row["centre"], "answer": said["answer"], "text": summary_of(said["answer"])}
        for row, said in zip(file.rows, found, strict=True)
    ]
    provenance = {
        "video": file.provenance["video"],
        "made_from": answers.provenance,
        "captions_cut": file.provenance["captions_cut"],
        "captions_cut_by_encoder": file.provenance["captions_cut_by_encoder"],
        "summaries_cut": sum(row["cut"] for row in found),
    }
    texts.write(arguments.out, "summaries", rows, provenance)


def _ask_ratings(arguments: Namespace) -> None:
    from hhvad.artifacts import texts
    from hhvad.methods.lavad.prompts import Rating
    from hhvad.methods.lavad.rate import rate_messages, rated_text

    file = texts.read(arguments.summaries, "summaries")
    wording = Rating(arguments.context, arguments.format)
    summaries = [row["text"] for row in file.rows]
    rows = [
        {"id": name, "messages": rate_messages(rated_text(summary), wording)}
        for name, summary in _asked(summaries, arguments.each)
    ]
    texts.write(arguments.out, "requests", rows, file.provenance)


def _read_ratings(arguments: Namespace) -> None:
    from hhvad.artifacts import texts
    from hhvad.files import write_json, write_tsv
    from hhvad.methods.lavad.rate import rate_windows

    file = texts.read(arguments.summaries, "summaries")
    summaries = [row["text"] for row in file.rows]
    answers = texts.read(arguments.answers, "answers")
    said = _answers(answers, summaries)
    found = rate_windows(_numbers(answers, said, arguments.video), arguments.video)
    rows = [
        (row["centre"], " ".join(answer["answer"].split()), score, int(interpolated))
        for row, answer, score, interpolated in zip(
            file.rows, said, found.scores.tolist(), found.interpolated, strict=True
        )
    ]
    write_tsv(arguments.out, ("centre", "answer", "score", "interpolated"), rows)
    counts = {
        "video": arguments.video,
        "windows": len(rows),
        "unreadable": int(found.interpolated.sum()),
        "ratings_cut": sum(row["cut"] for row in said),
        **{name: file.provenance[name] for name in CUTS},
    }
    write_json(arguments.out_counts, counts)


def _numbers(file: Any, said: Sequence[dict[str, Any]], video: str) -> list[float | None]:
    """The number of each window: read from what the LLM wrote, or expected from its choices."""
    import numpy as np

    from hhvad.errors import ArtifactError
    from hhvad.methods.lavad.prompts import CHOICES
    from hhvad.methods.lavad.rate import expected_numbers, read_number

    choices = file.provenance.get("choices")
    if choices is None:
        return [read_number(row["answer"]) for row in said]
    if choices != list(CHOICES):
        raise ArtifactError(f"{file.path}: weighs other answers than numbers; delete it and rerun")
    logits = np.array([row["logprobs"] for row in said])
    return [*expected_numbers(logits, video).tolist()]


def _refine_scores(arguments: Namespace) -> None:
    import numpy as np

    from hhvad.artifacts import hdf5, probe, texts
    from hhvad.artifacts import scores as score_files
    from hhvad.errors import ConfigError
    from hhvad.files import read_tsv
    from hhvad.methods.lavad import refine
    from hhvad.methods.lavad.index import unit
    from hhvad.methods.lavad.windows import Windows

    rows = read_tsv(arguments.ratings, ("centre", "score"))
    scores = np.array([float(row["score"]) for row in rows])
    file = hdf5.read(arguments.frame_vectors, "vectors", ("vectors", "indices"))
    cleaned = texts.read(arguments.cleaned, "cleaned").rows
    cut = Windows(
        np.array([row["centre"] for row in cleaned]), [np.array(row["frames"]) for row in cleaned]
    )
    vectors = unit(file["vectors"], arguments.frame_vectors)
    queries = refine.window_vectors(cut, file["indices"], vectors, of=arguments.window_vector)
    if arguments.among == "windows":
        scores = refine.by_windows(
            queries, scores, share=arguments.share, temperature=arguments.temperature
        )
    if arguments.among == "summaries":
        if arguments.summary_vectors is None:
            raise ConfigError("--among summaries needs --summary-vectors")
        known = hdf5.read(arguments.summary_vectors, "vectors", ("vectors", "first"))
        hdf5.require_same([file, known], ("video", "fingerprint"))
        scores = refine.by_summaries(
            queries,
            unit(known["vectors"], arguments.summary_vectors),
            scores[known["first"]],
            k=arguments.count,
            temperature=arguments.temperature,
        )
    video = probe.read(arguments.probe)
    bounds = refine.segments(video.frames, arguments.stride, video.damaged)
    score_files.write(arguments.out, bounds, np.clip(scores, 0, 1))


def _questions(rows: Sequence[dict[str, Any]]) -> list[str]:
    """The question for a summary of each window."""
    from hhvad.methods.lavad.summarise import join_captions

    return [join_captions(row["texts"]) for row in rows]


def _asked(questions: Sequence[str], each: str) -> list[tuple[str, str]]:
    """Id and text of what is asked: each window's question, or each question once.

    An id is the number of the (first) window that asks.
    """
    asked = [(str(number), text) for number, text in enumerate(questions)]
    if each == "window":
        return asked
    return [(name, text) for text, name in _first_by_text(asked).items()]


def _first_by_text(asked: Sequence[tuple[str, str]]) -> dict[str, str]:
    first: dict[str, str] = {}
    for name, text in asked:
        first.setdefault(text, name)
    return first


def _answers(file: Any, questions: Sequence[str]) -> list[dict[str, Any]]:
    """The row that answers each window's question: its own, or of the first with that question."""
    from hhvad.errors import ArtifactError

    said = {row["id"]: row for row in file.rows}
    windows = _asked(questions, "window")
    shared = _first_by_text(windows)
    names = [name for name, _ in windows]
    if set(said) != set(names):
        names = [shared[text] for text in questions]
    if set(said) != set(names):
        raise ArtifactError(
            f"{file.path}: answers other questions than were asked; delete it and rerun"
        )
    return [said[name] for name in names]
