"""Commands of stage capture: head features, and the resident process that computes them."""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from hhvad.errors import ArtifactError, ConfigError

DTYPES = ("auto", "float32", "bfloat16", "float16", "float8")


def add_commands(commands: Any) -> None:
    """Add this stage's commands."""
    p = commands.add_parser(
        "capture-heads",
        help="capture attention-head features of sampled frames under one prompt",
        description="Run the frozen model over each segment's frames and the prompt, and keep what "
        "its attention heads say at the prompt's last position. The model is loaded once and stays "
        "in a resident process that the next jobs use.",
    )
    p.add_argument("--frames", required=True, type=Path, metavar="H5", help="from sample-frames")
    add_rest(p, probe=True)
    p.add_argument(
        "--times",
        required=True,
        choices=("video", "fixed"),
        help="what Qwen3-VL reads: the probe's times, or two frames per second",
    )
    p.add_argument(
        "--outer-marks",
        required=True,
        choices=("yes", "no"),
        help="whether Qwen3-VL reads the video's own marks around those of its frames",
    )
    _add_model(p)
    p.add_argument("--prompt-id", required=True, metavar="ID")
    p.add_argument("--prompt", required=True, metavar="TEXT")
    p.add_argument("--system", required=True, metavar="TEXT", help="system message; may be empty")
    p.add_argument(
        "--siblings",
        metavar="YAML",
        help="a prompts file: the resident process answers all of its prompts in passing",
    )
    p.add_argument(
        "--heads",
        required=True,
        help="all, or layer,head pairs: '20,4 18,13'; "
        "or states: every layer's hidden states in place of heads",
    )
    p.add_argument("--out", required=True, type=Path, metavar="H5")
    p.set_defaults(run=_capture_heads)

    p = commands.add_parser(
        "caption-frames",
        help="have a model describe the frames of each segment",
        description="Show a model each segment's frames and the prompt, and keep what it writes, "
        "greedily: a line per segment, those cut at the limit marked.",
    )
    p.add_argument("--frames", required=True, type=Path, metavar="H5", help="from sample-frames")
    add_rest(p)
    _add_model(p)
    p.add_argument("--prompt-id", required=True, metavar="ID")
    p.add_argument("--prompt", required=True, metavar="TEXT")
    p.add_argument("--system", required=True, metavar="TEXT", help="system message; may be empty")
    p.add_argument(
        "--shown", required=True, type=_positive, metavar="N", help="times each frame is shown"
    )
    p.add_argument(
        "--keep", required=True, choices=("all", "after-colon"), help="after-colon: no verdict"
    )
    p.add_argument("--max-tokens", required=True, type=_positive, metavar="N")
    p.add_argument("--out", required=True, type=Path, metavar="JSONL")
    p.set_defaults(run=_caption_frames)

    p = commands.add_parser(
        "complete-texts",
        help="have a model answer chat messages",
        description="Have a model's text decoder answer each request's messages: a line per "
        "request, those cut at the limit marked.",
    )
    p.add_argument("--requests", required=True, type=Path, metavar="JSONL")
    _add_model(p)
    p.add_argument("--max-tokens", required=True, type=_positive, metavar="N")
    p.add_argument("--temperature", required=True, type=float, help="0: no sampling")
    p.add_argument("--top-p", required=True, type=float, metavar="P", help="of sampling")
    p.add_argument("--seed", required=True, type=int, help="of sampling")
    p.add_argument(
        "--choice",
        action="append",
        default=[],
        metavar="TEXT",
        help="weigh such answers instead of writing one",
    )
    p.add_argument("--out", required=True, type=Path, metavar="JSONL")
    p.set_defaults(run=_complete_texts)

    for name, option, metavar, run in (
        ("embed-frames", "--frames", "H5", _embed_frames),
        ("embed-texts", "--texts", "JSONL", _embed_texts),
    ):
        p = commands.add_parser(
            name,
            help=f"unit vectors of {option[2:]}, by an encoder",
            description=f"Have an encoder turn {option[2:]} into unit vectors, each one once.",
        )
        p.add_argument(option, required=True, type=Path, metavar=metavar)
        if run is _embed_frames:
            add_rest(p)
            p.add_argument(
                "--vectors",
                required=True,
                choices=("unit", "class"),
                help="class: those of a multimodal model's vision encoder, as they are",
            )
        if run is _embed_texts:
            p.add_argument("--field", required=True, help="of each line, with the text")
        _add_model(p)
        p.add_argument("--out", required=True, type=Path, metavar="H5")
        p.set_defaults(run=run)

    p = commands.add_parser(
        "check-model",
        help="check that a checkpoint can be asked, without loading its weights",
        description="Check a checkpoint's configuration, weights' headers, tokenizer, chat "
        "template, the size of frames, the prompts and the device. Takes seconds.",
    )
    p.add_argument("--model", required=True, help="checkpoint folder, hub id, or 'demo'")
    p.add_argument("--dtype", required=True, choices=DTYPES)
    p.add_argument("--device", required=True, help="as for capture-heads")
    p.add_argument("--frames-per-segment", required=True, type=int, metavar="F")
    p.add_argument("--size", required=True, type=int, nargs=2, metavar=("HEIGHT", "WIDTH"))
    p.add_argument("--system", required=True, metavar="TEXT", help="may be empty")
    p.add_argument("--prompt", required=True, action="append", metavar="TEXT")
    p.add_argument("--out", required=True, type=Path, metavar="JSON")
    p.add_argument("--key", required=True, help="digest of what is checked; kept in the file")
    p.set_defaults(run=_check_model)

    p = commands.add_parser(
        "stop-resident",
        help="end the resident model processes",
        description="End the resident model processes of this host and Slurm allocation; one that "
        "has jobs ends after them.",
    )
    p.add_argument("--all", action="store_true", help="those of other allocations, too")
    p.set_defaults(run=_stop_resident)

    p = commands.add_parser(
        "serve-model",
        help="the resident model process (capture-heads starts it)",
        description="The resident model process. capture-heads starts it with an inherited lock "
        "and socket; it is of no use by hand.",
    )
    p.add_argument("--folder", required=True, type=Path)
    p.add_argument("--lock", required=True, type=int)
    p.add_argument("--listener", required=True, type=int)
    p.add_argument("--code", required=True)
    p.add_argument("--idle-timeout", required=True, type=float)
    p.add_argument("--model", required=True)
    p.add_argument("--revision", required=True)
    p.add_argument("--dtype", required=True)
    p.add_argument("--device", required=True)
    p.add_argument("--threads", required=True, type=int)
    p.set_defaults(run=_serve_model)


def _add_model(p: argparse.ArgumentParser) -> None:
    """The arguments of every command that asks a model; the study has their defaults."""
    p.add_argument("--model", required=True, help="checkpoint folder, hub id, or 'demo'")
    p.add_argument("--model-name", required=True, help="the model's short name, for provenance")
    p.add_argument("--revision", required=True, help="commit or tag of a hub id; may be empty")
    p.add_argument(
        "--commit-file",
        required=True,
        type=Path,
        metavar="FILE",
        help="keeps the commit of a hub id for all jobs of a study",
    )
    p.add_argument("--dtype", required=True, choices=DTYPES, help="of weights and computation")
    p.add_argument("--device", required=True, help="auto, cpu, cuda:0, or several: cuda:0,cuda:1")
    p.add_argument("--batch-size", required=True, type=_batch_size, metavar="auto|N")
    p.add_argument("--threads", required=True, type=_threads, metavar="auto|N", help="on a CPU")
    p.add_argument(
        "--resident",
        required=True,
        choices=("yes", "no"),
        help="no loads the model in this job: the same output, slower",
    )
    p.add_argument("--idle-timeout", required=True, type=_seconds, metavar="SECONDS")


def add_rest(p: argparse.ArgumentParser, *, probe: bool = False) -> None:
    """The arguments of commands that read a frames file, which may leave out some of its video.

    probe: whether that is needed anyway.
    """
    p.add_argument("--probe", required=probe, type=Path, metavar="JSON", help="of their video")
    p.add_argument("--path", metavar="FILE", help="the video: frames that the file leaves out")
    p.add_argument("--decode-threads", type=_positive, default=1, metavar="N", help="for these")
    p.add_argument(
        "--decode-timeout",
        type=_seconds,
        default=3600.0,
        metavar="SECONDS",
        help="after which a decoder that gives none of them counts as hung",
    )


def rest_of(arguments: argparse.Namespace) -> dict[str, Any] | None:
    """Where left out frames come from, for a request; None where no video is given."""
    if arguments.path is None:
        return None
    if arguments.probe is None:
        raise ConfigError("--path: give --probe, too, which says what the video is")
    from hhvad.media.frames import Rest

    probe = str(arguments.probe.absolute())
    rest = Rest(
        str(Path(arguments.path).absolute()),
        probe,
        arguments.decode_threads,
        arguments.decode_timeout,
    )
    return asdict(rest)


def _positive(text: str) -> int:
    number = int(text) if text.isdecimal() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 up")
    return number


def _batch_size(text: str) -> int | str:
    return text if text == "auto" else _positive(text)


def _threads(text: str) -> int | None:
    return None if text == "auto" else _positive(text)


def _seconds(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0")
    return number


def _capture_heads(arguments: argparse.Namespace) -> None:
    from hhvad.mllm.tasks.capture import Request

    if not arguments.frames.is_file():
        raise ArtifactError(f"{arguments.frames}: there is no such file")
    if not arguments.prompt.strip():
        raise ConfigError(f"--prompt: prompt {arguments.prompt_id!r} is empty")
    siblings = _texts(arguments.siblings)
    request = Request(
        frames=str(arguments.frames.absolute()),
        out=str(arguments.out.absolute()),
        prompt=arguments.prompt,
        prompt_id=arguments.prompt_id,
        system=arguments.system,
        siblings=tuple(siblings) if arguments.resident == "yes" else (),
        heads=None if arguments.heads == "states" else _heads(arguments.heads),
        states=arguments.heads == "states",
        batch_size=arguments.batch_size,
        model_name=arguments.model_name,
        revision=arguments.revision or None,
        probe=str(arguments.probe.absolute()) if arguments.times == "video" else None,
        outer_marks=arguments.outer_marks == "yes",
        rest=rest_of(arguments),
    )
    _ask(arguments, {"task": "capture", "about": request.frames, **asdict(request)})


def _caption_frames(arguments: argparse.Namespace) -> None:
    from hhvad.mllm.tasks.generate import Request

    if not arguments.frames.is_file():
        raise ArtifactError(f"{arguments.frames}: there is no such file")
    _check_fixed(arguments)
    request = Request(
        frames=str(arguments.frames.absolute()),
        out=str(arguments.out.absolute()),
        prompt=arguments.prompt,
        prompt_id=arguments.prompt_id,
        system=arguments.system,
        shown=arguments.shown,
        keep=arguments.keep,
        max_tokens=arguments.max_tokens,
        batch_size=arguments.batch_size,
        model_name=arguments.model_name,
        revision=arguments.revision or None,
        rest=rest_of(arguments),
    )
    _ask(arguments, {"task": "generate", "about": request.frames, **asdict(request)})


def _complete_texts(arguments: argparse.Namespace) -> None:
    from hhvad.mllm.tasks.complete import Request

    if not arguments.requests.is_file():
        raise ArtifactError(f"{arguments.requests}: there is no such file")
    _check_fixed(arguments)
    request = Request(
        requests=str(arguments.requests.absolute()),
        out=str(arguments.out.absolute()),
        max_tokens=arguments.max_tokens,
        temperature=arguments.temperature,
        top_p=arguments.top_p,
        seed=arguments.seed,
        choices=tuple(arguments.choice),
        batch_size=arguments.batch_size,
        model_name=arguments.model_name,
        revision=arguments.revision or None,
    )
    _ask(arguments, {"task": "complete", "about": request.requests, **asdict(request)})


def _embed_frames(arguments: argparse.Namespace) -> None:
    kind: Literal["frames", "class"] = "class" if arguments.vectors == "class" else "frames"
    _embed(arguments, kind, arguments.frames, "")


def _embed_texts(arguments: argparse.Namespace) -> None:
    _embed(arguments, "texts", arguments.texts, arguments.field)


def _embed(
    arguments: argparse.Namespace,
    kind: Literal["frames", "class", "texts"],
    source: Path,
    field: str,
) -> None:
    from hhvad.mllm.tasks.embed import Request

    if not source.is_file():
        raise ArtifactError(f"{source}: there is no such file")
    _check_fixed(arguments)
    request = Request(
        kind=kind,
        source=str(source.absolute()),
        field=field,
        out=str(arguments.out.absolute()),
        batch_size=arguments.batch_size,
        model_name=arguments.model_name,
        revision=arguments.revision or None,
        rest=None if kind == "texts" else rest_of(arguments),
    )
    _ask(arguments, {"task": "embed", "about": request.source, **asdict(request)})


def _check_fixed(arguments: argparse.Namespace) -> None:
    if arguments.batch_size == "auto":
        raise ConfigError(
            "--batch-size auto: give a number, or the bytes would differ from machine to machine"
        )


def _ask(arguments: argparse.Namespace, job: dict[str, Any]) -> None:
    """Have a job done, by the resident process or here; its progress goes to stderr."""
    from hhvad import checkpoint
    from hhvad.resident.client import Holding, Resident, on_devices

    model = checkpoint.resolve(arguments.model)
    if Path(model).is_dir():
        model = str(Path(model).absolute())
    devices = on_devices(
        Holding(
            model=model,
            stamp=checkpoint.stamp(model),
            revision=checkpoint.pinned(
                arguments.model, arguments.revision or None, arguments.commit_file
            ),
            dtype=arguments.dtype,
            device=arguments.device,
            threads=arguments.threads,
        )
    )
    progress = _Progress()
    if arguments.resident == "yes":
        done = Resident(devices, idle_timeout=arguments.idle_timeout).ask(job, progress)
    else:
        from hhvad.mllm.tasks import find
        from hhvad.resident.server import do_here

        first = devices[0]
        done = do_here(
            lambda: _load(
                model,
                revision=first.revision,
                dtype=first.dtype,
                device=first.device,
                threads=first.threads,
            ),
            find,
            job,
            progress,
        )
    progress.finish(done, arguments.out)


def _load(model: str, **how: Any) -> Any:
    """Load a model, with torch."""
    from hhvad.mllm.load import load

    return load(model, **how)


def _texts(path: str | None) -> list[str]:
    """The wordings of a prompts file."""
    if path is None:
        return []
    import yaml

    from hhvad.files import read_text

    try:
        prompts = yaml.safe_load(read_text(path))["prompts"].values()
    except (yaml.YAMLError, TypeError, KeyError, AttributeError) as error:
        raise ConfigError(f"{path}: not a prompts file (see config/README.md)") from error
    return [text for text in prompts if isinstance(text, str)]


def _heads(text: str) -> tuple[tuple[int, int], ...] | None:
    """Layer and head of each pair; None for all heads."""
    if text == "all":
        return None
    heads = []
    for pair in text.split():
        numbers = pair.split(",")
        if len(numbers) != 2 or not all(number.isdecimal() for number in numbers):
            raise ConfigError(f"--heads: {pair!r} is not layer,head; give all or '20,4 18,13'")
        heads.append((int(numbers[0]), int(numbers[1])))
    if not heads or len(set(heads)) < len(heads):
        raise ConfigError(f"--heads {text!r}: give each head once, at least one")
    return tuple(heads)


class _Progress:
    """What a job's log shows: a line that renews itself on a terminal, else a line now and then."""

    every = 30.0  # seconds between two lines of a log

    def __init__(self, what: str = "segments") -> None:
        self.what = what
        self.begin = time.monotonic()
        self.shown = self.begin
        self.live = sys.stderr.isatty()

    def __call__(self, event: dict[str, Any]) -> None:
        """Show one event of the computation."""
        kind = event["event"]
        if kind == "loading":
            self.say("loading the model")
        elif kind == "loaded" and event["seconds"]:
            self.say(f"loaded {event['what']} in {event['seconds']:.1f} s")
        elif kind == "text":
            self.say(f"text sent to the model: {event['text']!r}")
        elif kind == "note":
            self.say(event["text"])
        elif kind == "started":
            self.begin = time.monotonic()
        elif kind == "died":
            self.say("the resident process has died; trying once more")
        elif kind == "progress":
            self.progress(event["done"], event["total"])

    def progress(self, done: int, total: int, more: str = "") -> None:
        """How many so far, their rate and the time that is left."""
        now = time.monotonic()
        if not done or (not self.live and now - self.shown < self.every):
            return
        self.shown = now
        rate = done / max(now - self.begin, 1e-6)
        left = f"{(total - done) / rate:.0f} s left"
        line = f"{done}/{total} {self.what}, {rate:.1f}/s, {left}{more}"
        if self.live:
            print(f"\r\033[K{line}", end="", file=sys.stderr, flush=True)
        else:
            self.say(line)

    def say(self, line: str) -> None:
        """One line of its own."""
        print(f"\r\033[K{line}" if self.live else line, file=sys.stderr, flush=True)

    def finish(self, done: dict[str, Any], out: Path) -> None:
        """The last line."""
        seconds = time.monotonic() - self.begin
        how = "answered from a sibling's pass" if done["kept"] else f"{seconds:.2f} s"
        self.say(f"{out}: {done['segments']} segments, {how}")


def _check_model(arguments: argparse.Namespace) -> None:
    from hhvad.files import write_json
    from hhvad.mllm.check import check_model

    found = check_model(
        arguments.model,
        dtype=arguments.dtype,
        device=arguments.device,
        frames=arguments.frames_per_segment,
        size=tuple(arguments.size),
        prompts=arguments.prompt,
        system=arguments.system,
    )
    write_json(arguments.out, {**found, "key": arguments.key})


def _stop_resident(arguments: argparse.Namespace) -> None:
    from hhvad.resident.client import stop

    ended, busy = stop(everywhere=arguments.all)
    if ended or busy:
        left = f"; {busy} still at work, and will end after it" if busy else ""
        print(f"resident model processes ended: {ended}{left}", file=sys.stderr)


def _serve_model(arguments: argparse.Namespace) -> None:
    from hhvad.mllm.tasks import find
    from hhvad.resident.server import main

    main(
        folder=arguments.folder,
        lock=arguments.lock,
        listener=arguments.listener,
        code=arguments.code,
        idle_timeout=arguments.idle_timeout,
        model=arguments.model,
        revision=arguments.revision or None,
        dtype=arguments.dtype,
        device=arguments.device,
        threads=arguments.threads or None,
        load=_load,
        find=find,
    )
