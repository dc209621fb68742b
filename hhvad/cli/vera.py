"""Commands of rules/methods/vera.smk."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hhvad.cli.models import _add_model, _ask, _check_fixed
from hhvad.cli.videos import add_fit


def add_commands(commands: Any) -> None:
    """Add sample-around, learn-questions and score-vera."""
    p = commands.add_parser(
        "sample-around",
        help="decode a video once and keep some frames of the window around each centre",
    )
    p.add_argument("--video", required=True, metavar="ID")
    p.add_argument("--path", required=True, help="the video file")
    p.add_argument("--probe", required=True, metavar="JSON", help="from probe-video")
    _add_stride(p)
    p.add_argument("--length", required=True, type=int, metavar="FRAMES", help="of a window")
    p.add_argument("--samples", required=True, type=int, help="frames per window")
    p.add_argument("--size", type=int, nargs=2, required=True, metavar=("HEIGHT", "WIDTH"))
    add_fit(p)
    p.add_argument("--mask", metavar="POLYGONS", help="what is hidden, as JSON")
    p.add_argument("--threads", type=int, required=True, metavar="N", help="that decode")
    p.add_argument("--timeout", type=float, required=True, metavar="SECONDS")
    p.add_argument("--out", required=True, metavar="H5")
    p.set_defaults(run=_sample_around)

    p = commands.add_parser(
        "learn-questions",
        help="have a model write better guiding questions, on labelled videos",
        description="In each step the model sees two videos and what it said of them, and writes "
        "questions; those that tell validation videos apart best are kept. A second call goes on "
        "where the first was interrupted.",
    )
    p.add_argument("--start", required=True, metavar="YAML", help="the questions to begin with")
    for split in ("training", "validation"):
        p.add_argument(f"--{split}", nargs="+", required=True, metavar="H5", help="their frames")
        p.add_argument(f"--{split}-labels", nargs="+", required=True, metavar="LABEL")
    _add_model(p)
    p.add_argument("--steps", required=True, type=int, metavar="N")
    p.add_argument("--seed", required=True, type=int)
    p.add_argument("--max-tokens", required=True, type=int, metavar="N")
    p.add_argument("--journal", required=True, type=Path, metavar="JSONL", help="what was tried")
    p.add_argument("--key", required=True, help="what the tries depend on; others are forgotten")
    p.add_argument("--out", required=True, metavar="YAML")
    p.add_argument("--table", required=True, metavar="TSV")
    p.set_defaults(run=_learn_questions)

    p = commands.add_parser("score-vera", help="scores from a model's answers about windows")
    p.add_argument("--answers", required=True, metavar="H5", help="from answer-questions")
    p.add_argument("--probe", required=True, metavar="JSON", help="from probe-video")
    _add_stride(p)
    p.add_argument("--length", required=True, type=int, metavar="FRAMES", help="of a window")
    p.add_argument("--samples", required=True, type=int, help="frames per window")
    p.add_argument("--rounded", action="store_true", help="answers count as 0 or 1")
    p.add_argument("--frame-vectors", metavar="H5", help="from embed-frames, for what is alike")
    p.add_argument("--share", type=float, default=0.15, help="of the windows that are alike")
    p.add_argument("--temperature", type=float, default=0.1, help="of the softmax over cosines")
    p.add_argument("--points", type=int, help="of the smoothing; without it none")
    p.add_argument("--sigma", type=float, default=10.0, help="of the smoothing")
    p.add_argument("--position-weight", action="store_true", help="a prior: the middle counts most")
    p.add_argument("--out", required=True, metavar="TSV")
    p.set_defaults(run=_score_vera)


def _add_stride(p: Any) -> None:
    p.add_argument("--stride", required=True, type=int, metavar="FRAMES", help="between centres")


def _windows(arguments: Namespace, video: Any) -> Any:
    from hhvad.methods.vera.windows import around

    return around(
        video.frames,
        stride=arguments.stride,
        length=arguments.length,
        samples=arguments.samples,
        damaged=video.damaged,
    )


def _sample_around(arguments: Namespace) -> None:
    from hhvad import masks
    from hhvad.artifacts import probe
    from hhvad.media.probe import sample_frames

    video = probe.read(arguments.probe)
    spans, picked = _windows(arguments, video)
    sample_frames(
        arguments.path,
        video,
        arguments.out,
        video=arguments.video,
        view="around",
        frames_per_segment=arguments.samples,
        segment_length=arguments.length,
        size=arguments.size,
        threads=arguments.threads,
        timeout=arguments.timeout,
        mask=masks.from_text(arguments.mask),
        fit=arguments.fit,
        spans=spans.tolist(),
        picked=picked.tolist(),
    )


def _score_vera(arguments: Namespace) -> None:
    import numpy as np

    from hhvad.artifacts import hdf5, probe
    from hhvad.artifacts import scores as score_files
    from hhvad.errors import ArtifactError
    from hhvad.methods.lavad import refine
    from hhvad.methods.lavad.index import unit
    from hhvad.methods.lavad.windows import Windows
    from hhvad.methods.vera import score

    video = probe.read(arguments.probe)
    file = hdf5.read(arguments.answers, "logprobs", ("logprobs", "segments"))
    spans, _ = _windows(arguments, video)
    if not np.array_equal(file["segments"], spans):
        raise ArtifactError(
            f"{arguments.answers}: its windows are not those of {arguments.probe}; delete it and "
            "rerun"
        )
    scores = score.answered(file["logprobs"], rounded=arguments.rounded)
    bounds = refine.segments(video.frames, arguments.stride, video.damaged)
    if arguments.frame_vectors is not None:
        known = hdf5.read(arguments.frame_vectors, "vectors", ("vectors", "indices"))
        grid = known["indices"]
        inside = [grid[(grid >= low) & (grid < high)] for low, high in spans.tolist()]
        vectors = refine.window_vectors(
            Windows(bounds[:, 0], inside), grid, unit(known["vectors"], arguments.frame_vectors)
        )
        scores = refine.by_windows(
            vectors, scores, share=arguments.share, temperature=arguments.temperature
        )
    if arguments.points is not None:
        scores = score.smoothed(scores, bounds, points=arguments.points, sigma=arguments.sigma)
    if arguments.position_weight:
        scores = score.by_position(scores)
    score_files.write(arguments.out, bounds, np.clip(scores, 0, 1))


def _learn_questions(arguments: Namespace) -> None:
    import tempfile

    import yaml

    from hhvad.config import parse, read_yaml
    from hhvad.errors import ConfigError
    from hhvad.files import digest, write_text, write_tsv
    from hhvad.live.watch.journal import Journal
    from hhvad.methods.vera.learn import Labelled, Step, learn
    from hhvad.methods.vera.settings import Questions

    _check_fixed(arguments)
    start = parse(Questions, read_yaml(arguments.start), arguments.start)
    given = {}
    for split in ("training", "validation"):
        paths, labels = getattr(arguments, split), getattr(arguments, f"{split}_labels")
        if len(paths) != len(labels):
            raise ConfigError(f"--{split}-labels has {len(labels)} values, --{split} {len(paths)}")
        given[split] = Labelled(tuple(paths), tuple(label == "anomaly" for label in labels))
    journal = Journal(arguments.journal)
    key = digest(
        [
            arguments.key,
            [_made_from(path) for path in (*given["training"].videos, *given["validation"].videos)],
        ]
    )
    if not journal.lines or journal.lines[0].get("key") != key:
        journal.close()
        arguments.journal.unlink()
        journal = Journal(arguments.journal)
        journal.append({"key": key})
        known = []
    else:
        known = [Step.from_json(line) for line in journal.lines[1:]]

    def done(step: Step) -> None:
        journal.append(step.to_json())
        mark = "kept" if step.kept else "no question in it" if not step.written else "not better"
        print(f"step {step.number}: validation AUC {step.auc:.3f}, loss {step.loss:.3f}, {mark}")

    with tempfile.TemporaryDirectory() as folder:
        asked = _Model(arguments, Path(folder))
        best, steps = learn(
            start,
            given["training"],
            given["validation"],
            asked.judge,
            asked.write,
            steps=arguments.steps,
            seed=arguments.seed,
            known=known,
            done=done,
        )
    journal.close()
    text = yaml.safe_dump(best.model_dump(mode="json"), allow_unicode=True, sort_keys=False)
    write_text(arguments.out, f"# Learnt by hhvad learn-questions from {arguments.start}.\n{text}")
    columns = ("number", "auc", "loss", "written", "kept", "questions")
    rows = [
        (s.number, s.auc, s.loss, int(s.written), int(s.kept), " / ".join(s.questions))
        for s in steps
    ]
    write_tsv(arguments.table, columns, rows)


def _made_from(path: str) -> Any:
    """What a frames file was made from: tries on other frames say nothing of these."""
    from hhvad.artifacts import hdf5

    with hdf5.open_artifact(path, "frames") as (_, provenance):
        return provenance


class _Model:
    """The frozen model, asked by files as every job asks it."""

    def __init__(self, arguments: Namespace, folder: Path) -> None:
        self.arguments, self.folder = arguments, folder

    def judge(self, questions: Any, videos: Sequence[str]) -> list[float]:
        """The probability of anomaly of each video, given by its frames file."""
        from hhvad.artifacts import hdf5
        from hhvad.methods.vera.score import answered
        from hhvad.mllm.tasks.answer import Request

        found = []
        for path in videos:
            request = Request(
                frames=str(Path(path).absolute()),
                out=str(self.folder / "answers.h5"),
                prompts=(questions.text,),
                answers=tuple(questions.answers),
                system=questions.system,
                **self._how(),
            )
            _ask(self.arguments, {"task": "answer", "about": request.frames, **asdict(request)})
            found.append(float(answered(hdf5.read(request.out, "logprobs")["logprobs"]).mean()))
        return found

    def write(self, text: str, videos: Sequence[str]) -> str:
        """What the model writes when it sees the videos' frames behind one another."""
        import numpy as np

        from hhvad.artifacts import hdf5, texts
        from hhvad.mllm.tasks.generate import Request

        files = [hdf5.read(path, "frames", ("frames", "segments")) for path in videos]
        frames = np.concatenate([file["frames"][:1] for file in files], axis=1)
        count = frames.shape[1]
        arrays = {"frames": frames, "segments": np.array([[0, count]], np.int64)}
        both = self.folder / "frames.h5"
        hdf5.write(both, "frames", arrays, {**files[0].provenance, "frames_per_segment": count})
        request = Request(
            frames=str(both),
            out=str(self.folder / "text.jsonl"),
            prompt=text,
            prompt_id="step",
            system="",
            shown=1,
            keep="all",
            max_tokens=self.arguments.max_tokens,
            **self._how(),
        )
        _ask(self.arguments, {"task": "generate", "about": request.frames, **asdict(request)})
        return str(texts.read(request.out, "texts").rows[0]["text"])

    def _how(self) -> dict[str, Any]:
        given = self.arguments
        return {
            "batch_size": given.batch_size,
            "model_name": given.model_name,
            "revision": given.revision or None,
        }
