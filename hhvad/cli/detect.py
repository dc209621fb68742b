"""`hhvad detect`: judge video files with a finished detector, without sheet and Snakemake."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hhvad.cli.videos import add_on_damage

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from hhvad.methods.headhunt.detector import Coming, Detector
    from hhvad.records import Video

METHOD = "detect"  # the name under which files and page show the detector
CHUNK = 128 * 2**20  # bytes of frames that are held at once
PICTURES, WIDTH = 100, 160  # thumbnails
ON_EVENT = (
    "run CMD once for each new event, with the event as one line of JSON on its stdin; CMD is "
    "split into words, and no shell sees it"
)


def add_commands(commands: Any) -> None:
    """Add detect."""
    p = commands.add_parser(
        "detect",
        help="find the events of video files with a finished detector",
        description="Score video files with a finished detector and print their events. The "
        "folder gets scores, events (TSV, JSON, CSV), subtitles of the events (VTT) and a page to "
        "look at. The scores are those of the workflow with as many compute.threads.",
    )
    p.add_argument("files", nargs="+", type=Path, metavar="FILE")
    add_detector(p)
    p.add_argument(
        "--camera",
        metavar="ID",
        help="whose threshold and mask apply, where the detector has some per camera",
    )
    p.add_argument(
        "--causal",
        action="store_true",
        help="smooth scores by their past alone, as `hhvad watch` does",
    )
    add_on_damage(p)
    p.add_argument("--on-event", metavar="CMD", help=ON_EVENT)
    p.add_argument("--out", type=Path, default=Path("detected"), metavar="DIR")
    p.set_defaults(run=_detect)


def add_detector(p: Any) -> None:
    """Add the flags that name a detector, its model, and what it runs on."""
    p.add_argument(
        "--detector",
        default="demo",
        metavar="FILE",
        help="from pack-detector; demo (default) is that of the tiny model that comes with hhvad",
    )
    p.add_argument(
        "--model",
        metavar="PATH",
        help="its checkpoint: a folder or hub id (default: the demo's, if that made the detector)",
    )
    p.add_argument("--device", default="auto", help="auto (default), cpu, cuda:0")
    p.add_argument("--threads", type=int, default=2, metavar="N", help="CPU threads (default 2)")
    p.add_argument(
        "--timeout", type=float, default=3600.0, metavar="SECONDS", help="to decode one video"
    )


def _detect(arguments: Namespace) -> None:
    from hhvad.errors import VideoError
    from hhvad.files import read_json, write_json, write_tsv
    from hhvad.methods.headhunt.detector import Detector
    from hhvad.sheet import COLUMNS
    from hhvad.viewer.page import build

    path = detector_file(arguments.detector)
    detector = Detector.read(path)
    if arguments.causal:
        detector = made_causal(detector)
    _note_camera(detector, arguments.camera)
    out: Path = arguments.out
    hook = None
    if arguments.on_event is not None:
        from hhvad.on_event import OnEvent

        hook = OnEvent(arguments.on_event, out / "told.txt")
    engine = load_engine(arguments, path, detector)
    write_json(out / f"locator/{METHOD}.json", detector.locator.to_json())
    judged: list[Video] = []
    failed: list[VideoError] = []
    for video in _videos(arguments.files, arguments.camera):
        try:
            events = _judge(video, detector, engine, arguments)
        except VideoError as error:
            failed.append(error)
            print(f"hhvad: error: {error}", file=sys.stderr)
            continue
        judged.append(video)
        print(f"{video.path}: {len(events)} events")
        found = read_json(out / f"events/{METHOD}/{video.video}.json")
        for start, end in found.get("damaged", []):
            print(f"  {start:.1f} s to {end:.1f} s  damaged, not judged")
        for event in events:
            clock = f"  {event['started_at']}" if event.get("started_at") else ""
            print(
                f"  {event['start_seconds']:.1f} s to {event['end_seconds']:.1f} s"
                f"  score {event['peak_score']:.3f}{clock}"
            )
            if hook is not None:
                about = {"method": METHOD, "video": video.video, "path": video.path}
                probe = read_json(out / f"probe/{video.video}.json")
                hook.tell({**about, "fingerprint": probe["fingerprint"], **event})
    if hook is not None:
        hook.close()
    if judged:
        rows = [(video.video, video.path, "test", "", "", "") for video in judged]
        write_tsv(out / "videos.tsv", COLUMNS, rows)
        build(
            judged,
            results=out,
            study=f"{len(judged)} videos",
            methods=[METHOD],
            video_root=Path(),
            masks=detector.masks,
            out=out / "index.html",
        )
        print(f"Events, videos and curves: {out / 'index.html'}")
    if failed:
        raise VideoError(f"{len(failed)} of {len(arguments.files)} files could not be judged")


def detector_file(name: str) -> Path:
    """The file of --detector."""
    demo = Path(__file__).parents[1] / "demo/detector.h5"
    return demo if name == "demo" else Path(name)


def made_causal(detector: Detector) -> Detector:
    """The same detector with causal smoothing; a note where its threshold was made for another."""
    if not detector.locator.causal:
        print(
            "note: detector: its threshold was calibrated on scores that are smoothed over past "
            "and future; `locator: {causal: true}` calibrates one for the past alone",
            file=sys.stderr,
        )
    return replace(detector, locator=replace(detector.locator, causal=True))


def _note_camera(detector: Detector, camera: str | None) -> None:
    """Say what the detector does not know of a camera."""
    budget, notes = detector.locator.budget, []
    if camera is None and detector.masks:
        notes.append("it has masks, but no --camera is given: nothing is hidden")
    if camera is not None and detector.masks and camera not in detector.masks:
        notes.append(f"it has no mask of camera {camera}: nothing is hidden")
    if camera is not None and budget is not None and not budget.knows(camera):
        notes.append(budget.unknown(camera))
    for note in notes:
        print(f"note: detector: {note}", file=sys.stderr)


def load_engine(arguments: Namespace, path: Path, detector: Detector) -> Any:
    """The detector's model, loaded. Raises ConfigError where it is another than the detector's."""
    from hhvad import checkpoint
    from hhvad.errors import ConfigError

    info = detector.provenance
    model = arguments.model
    if model is None:
        if info.get("fingerprint") != checkpoint.stamp("demo"):
            raise ConfigError(
                f"{path}: was made with model {detector.model!r}; name its checkpoint by --model"
            )
        model = "demo"
        if arguments.detector == "demo":
            print(
                "note: the demo's tiny model knows procedural street scenes alone: what it says "
                "of other videos means nothing; --detector and --model take a real one",
                file=sys.stderr,
            )
    from hhvad.mllm.load import load

    engine = load(
        checkpoint.resolve(model),
        revision=info.get("revision"),
        dtype=info.get("dtype", "auto"),
        device=arguments.device,
        threads=arguments.threads,
    )
    if engine.info.fingerprint != info.get("fingerprint"):
        raise ConfigError(
            f"--model {model}: its weights are not those that {path} was made with (fingerprint "
            f"{engine.info.fingerprint}, the detector has {info.get('fingerprint')})"
        )
    return engine


def _videos(files: Sequence[Path], camera: str | None) -> Iterator[Video]:
    """The files as rows of a sheet, each once, with ids made from their names."""
    from hhvad.datasets.folder import new_id
    from hhvad.errors import SheetError
    from hhvad.records import ONE_CAMERA, Video

    taken: set[str] = set()
    for file in dict.fromkeys(files):
        if any(ord(char) < 32 for char in str(file)):
            raise SheetError(f"{str(file)!r}: the name holds a control character; rename the file")
        name = new_id(Path(file.name), taken)
        yield Video(name, str(file), "test", None, camera=camera or ONE_CAMERA)


def _judge(
    video: Video, detector: Detector, engine: Any, arguments: Namespace
) -> list[dict[str, Any]]:
    """Write one video's probe, scores, events, subtitles and thumbnails; its events."""
    from hhvad.artifacts import scores
    from hhvad.cli.locate import localize_events
    from hhvad.files import write_json, write_text
    from hhvad.media.probe import probe, sample_thumbnails

    out, name = arguments.out, video.video
    info = probe(video.path, arguments.timeout, arguments.on_damage)
    write_json(out / f"probe/{name}.json", info.to_json(name))
    coming = detector.stream(
        video.path, info, arguments.camera, threads=arguments.threads, timeout=arguments.timeout
    )
    values = _scores(coming, detector, engine)
    scores.write(out / f"scores/{METHOD}/{name}.tsv", coming.bounds, values)
    paths = {
        "scores": out / f"scores/{METHOD}/{name}.tsv",
        "locator": out / f"locator/{METHOD}.json",
        "probe": out / f"probe/{name}.json",
        "out_scores": out / f"localization/{METHOD}/{name}.tsv",
        "out_events": out / f"events/{METHOD}/{name}.tsv",
        "out_json": out / f"events/{METHOD}/{name}.json",
    }
    asked = Namespace(video=name, method=METHOD, started=None, **paths)
    events = localize_events(asked, arguments.camera)
    write_text(out / f"subtitles/{name}.vtt", subtitles(events))
    sample_thumbnails(
        video.path,
        info,
        out / f"thumbnails/{name}.h5",
        video=name,
        count=PICTURES,
        width=WIDTH,
        timeout=arguments.timeout,
    )
    return events


def _scores(coming: Coming, detector: Detector, engine: Any) -> NDArray[np.float64]:
    """The scores [T] of a video's segments; frames are held a chunk at a time."""
    import numpy as np

    found: list[NDArray[np.float64]] = []
    chunk: list[NDArray[np.uint8]] = []
    done = 0

    def judge() -> None:
        nonlocal done
        seconds = coming.seconds[done : done + len(chunk)]
        found.append(detector.judge(engine, np.stack(chunk), seconds))
        done += len(chunk)
        chunk.clear()

    for frames in coming.frames:
        chunk.append(frames)
        if (len(chunk) + 1) * frames.nbytes > CHUNK:
            judge()
    if chunk:
        judge()
    return np.concatenate(found)


def subtitles(events: Sequence[dict[str, Any]]) -> str:
    """The events as WebVTT: players show them over the video."""
    lines = ["WEBVTT", ""]
    for event in events:
        start, end = _vtt(event["start_seconds"]), _vtt(event["end_seconds"])
        lines += [f"{start} --> {end}", f"anomaly, score {event['peak_score']:.3f}", ""]
    return "\n".join(lines)


def _vtt(seconds: float) -> str:
    """A time as WebVTT writes it: hours, minutes, seconds, milliseconds."""
    milliseconds = round(seconds * 1000)
    minutes, rest = divmod(milliseconds, 60_000)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{rest // 1000:02d}.{rest % 1000:03d}"
