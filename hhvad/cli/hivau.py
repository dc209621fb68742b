"""HIVAU-70k: its questions, a model's answers, and how near these are to the references."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hhvad.cli.models import _add_model, _ask, _positive

if TYPE_CHECKING:
    from hhvad.evaluation.hivau import Meteor


def add_commands(commands: Any) -> None:
    """Add list-hivau, answer-hivau and score-texts."""
    p = commands.add_parser(
        "list-hivau",
        help="HIVAU-70k's questions as frame ranges of their videos",
        description="Write each question of the instruction file with the frames that the authors "
        "cut out for it; no file is cut. Questions about an empty range, or about a video that no "
        "annotation knows, are left out and named.",
    )
    p.add_argument("--instructions", required=True, metavar="JSONL")
    p.add_argument("--annotations", required=True, nargs="+", metavar="JSON", help="the raw ones")
    p.add_argument("--out", required=True, metavar="TSV")
    p.set_defaults(run=_list_hivau)

    p = commands.add_parser(
        "answer-hivau", help="have a model answer the questions about one video, greedily"
    )
    p.add_argument("--items", required=True, metavar="TSV", help="from list-hivau")
    p.add_argument("--video", required=True, metavar="ID")
    p.add_argument("--path", required=True, help="the video file")
    p.add_argument("--probe", required=True, metavar="JSON")
    p.add_argument("--scores", metavar="TSV", help="choose frames by them; without, evenly spaced")
    p.add_argument(
        "--none-is-fine", action="store_true", help="write no answers where nothing is asked"
    )
    p.add_argument("--frames", required=True, type=_positive, metavar="N")
    p.add_argument("--size", type=_positive, nargs=2, required=True, metavar=("HEIGHT", "WIDTH"))
    p.add_argument("--mask", metavar="POLYGONS", help="what is hidden, as JSON")
    p.add_argument("--timeout", type=float, required=True, metavar="SECONDS")
    _add_model(p)
    p.add_argument("--system", required=True, metavar="TEXT", help="may be empty")
    p.add_argument("--max-tokens", required=True, type=_positive, metavar="N")
    p.add_argument("--out", required=True, type=Path, metavar="JSONL")
    p.set_defaults(run=_answer_hivau)

    p = commands.add_parser(
        "score-texts",
        help="BLEU, ROUGE-L, CIDEr-D and judgement accuracy of answers",
        description="Compare answers with HIVAU-70k's references, per level and task, with 95 %% "
        "intervals over resampled videos; METEOR where Java and pycocoevalcap are installed.",
    )
    p.add_argument("--items", required=True, metavar="TSV", help="from list-hivau")
    p.add_argument("--answers", required=True, nargs="+", metavar="JSONL", help="per video")
    p.add_argument("--bootstrap", required=True, type=int, metavar="N", help="0 for none")
    p.add_argument("--seed", required=True, type=int)
    p.add_argument("--out", required=True, metavar="JSON")
    p.add_argument("--table", required=True, metavar="TSV")
    p.set_defaults(run=_score_texts)


def _list_hivau(arguments: argparse.Namespace) -> None:
    from hhvad.datasets.hivau_items import read_instructions, write_items
    from hhvad.errors import AnnotationError

    items, empty, absent = read_instructions(arguments.instructions, arguments.annotations)
    if not items:
        raise AnnotationError(
            f"{arguments.instructions}: no question is about a video of the annotations"
        )
    for what, names in (
        ("empty ranges, left out", empty),
        ("videos without annotation, left out", absent),
    ):
        if names:
            shown = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
            print(f"hhvad: note: {len(names)} {what}: {shown}", file=sys.stderr)
    write_items(arguments.out, items)


def _answer_hivau(arguments: argparse.Namespace) -> None:
    from hhvad import checkpoint, masks
    from hhvad.artifacts import probe, scores
    from hhvad.datasets.hivau_items import read_items
    from hhvad.describe.focus import choose
    from hhvad.errors import AnnotationError
    from hhvad.media.probe import sample_frames
    from hhvad.media.samplers import uniform_of

    video = probe.read(arguments.probe)
    items = [one for one in read_items(arguments.items) if one.video == arguments.video]
    if not items and not arguments.none_is_fine:
        raise AnnotationError(f"{arguments.items}: no item of video {arguments.video!r}")
    spans = list(dict.fromkeys((one.start, one.end) for one in items))
    for start, end in spans:
        if end > video.frames:
            raise AnnotationError(
                f"{arguments.items}: video {arguments.video}: frames {start}-{end}, but "
                f"{arguments.probe} counts {video.frames}: the file is another one"
            )
    if arguments.scores:
        scored = scores.read(arguments.scores)
        picked = [
            choose(scored.bounds, scored.scores, span, arguments.frames).frames.tolist()
            for span in spans
        ]
    else:
        whole = video.undamaged()
        picked = [uniform_of(whole, *span, arguments.frames).tolist() for span in spans]
    questions = [
        {"row": row, "segment": spans.index((one.start, one.end)), "prompt": one.prompt}
        for row, one in enumerate(items)
    ]
    provenance = {
        "video": arguments.video,
        "source": {"bytes": video.bytes, "fingerprint": video.fingerprint},
        "model": arguments.model_name,
        "revision": arguments.revision or None,
        "fingerprint": checkpoint.stamp(arguments.model),
        "dtype": arguments.dtype,
        "frames": arguments.frames,
        "chosen": "focus" if arguments.scores else "uniform",
        "system": arguments.system,
        "max_tokens": arguments.max_tokens,
    }
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    if not items:
        from hhvad.artifacts import texts

        texts.write(arguments.out, "hivau", [], provenance)
        return
    with tempfile.TemporaryDirectory(prefix="hhvad-") as folder:
        frames = Path(folder) / "frames.h5"
        sample_frames(
            arguments.path, video, frames, video=arguments.video, view="focus",
            frames_per_segment=arguments.frames, segment_length=0, size=arguments.size,
            timeout=arguments.timeout, spans=spans, picked=picked,
            mask=masks.from_text(arguments.mask),
        )  # fmt: skip
        job = {
            "task": "describe",
            "about": str(frames),
            "frames": str(frames),
            "out": str(arguments.out.absolute()),
            "schema": "hivau",
            "rows": [{"id": one.id} for one in items],
            "questions": questions,
            "provenance": provenance,
            "system": arguments.system,
            "max_tokens": arguments.max_tokens,
        }
        _ask(arguments, job)


def _score_texts(arguments: argparse.Namespace) -> None:
    from hhvad.artifacts import texts
    from hhvad.datasets.hivau_items import read_items
    from hhvad.errors import ArtifactError
    from hhvad.evaluation.hivau import Answer, compare
    from hhvad.files import write_json, write_tsv

    items = {one.id: one for one in read_items(arguments.items)}
    files = [texts.read(path, "hivau") for path in arguments.answers]
    same = ("model", "fingerprint", "revision", "dtype", "frames", "chosen", "system", "max_tokens")
    texts.check_same(files, same)
    answers = []
    for file in files:
        for row in file.rows:
            if row["id"] not in items:
                raise ArtifactError(f"{file.path}: item {row['id']} is not in {arguments.items}")
            one = items[row["id"]]
            answers.append(
                Answer(one.level, one.task, one.video, one.anomalous, one.reference, row["answer"])
            )
    found = meteor()
    rows = compare(
        answers,
        bootstrap=arguments.bootstrap,
        seed=arguments.seed,
        meteor=None if isinstance(found, str) else found,
    )
    missing = len(items) - len(answers)
    about = {name: files[0].provenance[name] for name in same}
    how = found if isinstance(found, str) else "by pycocoevalcap, mean over texts"
    write_json(arguments.out, {**about, "unanswered": missing, "meteor": how, "rows": rows})
    columns = ["level", "task", "texts", "videos", "bleu_1", "bleu_2", "bleu_3", "bleu_4"]
    columns += ["rouge_l", "cider", "meteor", "accuracy", "unreadable"]
    write_tsv(arguments.table, columns, [[row.get(name) for name in columns] for row in rows])


def meteor() -> Meteor | str:
    """METEOR of texts as pycocoevalcap has it computed by Java, or why it is not."""
    import shutil

    if shutil.which("java") is None:
        return "not computed: there is no Java"
    try:
        from pycocoevalcap.meteor import meteor as official
    except ImportError:
        return "not computed: pycocoevalcap is not installed"

    def score(said: Sequence[str], wanted: Sequence[str]) -> list[float]:
        found: list[float] = []
        java = official.Meteor()
        with java.meteor_p:
            for start in range(0, len(said), 100):  # a line of all would block its pipe
                part = range(start, min(start + 100, len(said)))
                references = {at: [wanted[at]] for at in part}
                found += java.compute_score(references, {at: [said[at]] for at in part})[1]
        return found

    return score
