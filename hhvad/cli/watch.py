"""`hhvad watch`: judge the recordings of cameras as they come."""

from __future__ import annotations

import math
import signal
import sys
import threading
import time
from argparse import ArgumentTypeError, Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hhvad.cli.detect import METHOD, PICTURES, WIDTH, add_detector
from hhvad.cli.videos import add_on_damage

if TYPE_CHECKING:
    from hhvad.artifacts.probe import Probe
    from hhvad.live.watch.folder import Clip
    from hhvad.live.watch.outputs import Output, Send
    from hhvad.live.watch.watcher import Done, Watcher
    from hhvad.methods.headhunt.detector import Coming, Detector

_STATUS = 60.0  # seconds between two lines of status where there is no terminal
_AT_END = 30.0  # seconds that outputs have for what they still have to tell


def add_commands(commands: Any) -> None:
    """Add watch."""
    p = commands.add_parser(
        "watch",
        help="judge the recordings of cameras as they come, and tell their events",
        description="Judge the videos in a folder, and those that come into it, with one loaded "
        "model. Each change of an event (open, update, closed) is a line of JSON on standard "
        "output and in DIR/events.jsonl. A restart goes on where the last run was.",
    )
    p.add_argument(
        "folder", metavar="DIR", help="of `hhvad record`: a subfolder per camera; or of videos"
    )
    add_detector(p)
    add_on_damage(p, default="skip-to-keyframe")
    p.add_argument(
        "--max-behind",
        type=_seconds,
        default=60.0,
        metavar="SECONDS",
        help="drop the oldest recordings of a camera that waits longer (default 60; needs names "
        "that tell the time, as those of `hhvad record`)",
    )
    p.add_argument(
        "--gap",
        type=_seconds,
        default=1.0,
        metavar="SECONDS",
        help="between two recordings that are one stream, at most (default 1)",
    )
    p.add_argument(
        "--silence",
        type=_seconds,
        default=60.0,
        metavar="SECONDS",
        help="without footage, after which an open event is closed (default 60)",
    )
    p.add_argument("--once", action="store_true", help="judge all that is there, and end")
    p.add_argument(
        "--on-event",
        metavar="CMD",
        help="run CMD for each change of an event, with it as one line of JSON on its stdin; CMD "
        "is split into words, and no shell sees it",
    )
    p.add_argument("--webhook", metavar="URL|@FILE", help="POST each change as JSON to a URL")
    p.add_argument(
        "--mqtt",
        metavar="URL|@FILE",
        help="publish each change: mqtt://USER:PASSWORD@HOST:PORT/TOPIC; needs the extra mqtt",
    )
    p.add_argument(
        "--metrics", metavar="[HOST:]PORT", help="serve /metrics for Prometheus (this machine)"
    )
    p.add_argument("--page", type=Path, metavar="DIR", help="keep a page per day in DIR")
    p.add_argument(
        "--refresh",
        type=_seconds,
        default=60.0,
        metavar="SECONDS",
        help="between two writings of the page, at least (default 60)",
    )
    p.set_defaults(run=_watch)


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 0):
        raise ArgumentTypeError(f"it is {text!r}; a number of seconds from 0")
    return value


def _watch(arguments: Namespace) -> None:
    from hhvad.cli import detect
    from hhvad.errors import ConfigError
    from hhvad.files import digest
    from hhvad.live.watch.metrics import Metrics, serve
    from hhvad.live.watch.outputs import to_command, to_mqtt, to_webhook
    from hhvad.live.watch.watcher import Settings, Watcher
    from hhvad.media.probe import probe
    from hhvad.methods.headhunt.detector import Detector

    if "://" in arguments.folder:
        raise ConfigError(
            f"{arguments.folder.split('://')[0]}://...: a folder is watched, not an address; let "
            "`hhvad record` write it, and watch its folder"
        )
    path = detect.detector_file(arguments.detector)
    detector = detect.made_causal(Detector.read(path))
    sends: dict[str, Send] = {}
    for name, make in (("on-event", to_command), ("webhook", to_webhook), ("mqtt", to_mqtt)):
        if (given := getattr(arguments, name.replace("-", "_"))) is not None:
            sends[name] = make(given)
    metrics = Metrics()
    server = serve(metrics, arguments.metrics) if arguments.metrics else None

    def opened(clip: Clip) -> tuple[Probe, Coming]:
        info = probe(clip.path, arguments.timeout, arguments.on_damage)
        return info, detector.stream(
            clip.path, info, clip.camera, threads=arguments.threads, timeout=arguments.timeout
        )

    engine = detect.load_engine(arguments, path, detector)
    page = Page(arguments, detector) if arguments.page else None
    watcher = Watcher(
        Path(arguments.folder),
        opened,
        lambda frames, seconds: detector.judge(engine, frames, seconds),
        detector.locator,
        stamp=digest([path.read_bytes().hex(), engine.info.fingerprint]),
        settings=Settings(
            gap=arguments.gap,
            silence=arguments.silence,
            max_behind=arguments.max_behind,
            once=arguments.once,
        ),
        metrics=metrics,
        done=page.add if page else lambda done: None,
    )
    _say(watcher, detector)
    signal.signal(signal.SIGTERM, lambda *_: watcher.stop())
    status = threading.Thread(target=_show_status, args=(watcher,), daemon=True)
    try:
        _start_outputs(watcher, sends)
        status.start()
        watcher.run()
    finally:
        watcher.stop()
        _finish(watcher.outputs, _AT_END if arguments.once else 1.0)
        if page is not None:
            page.finish()
        if server is not None:
            server.shutdown()
        print(f"hhvad: {metrics.line()}", file=sys.stderr)


def _say(watcher: Watcher, detector: Detector) -> None:
    """What a person should know at the start."""
    from hhvad.localization.locator import causal_delay

    locator, length = detector.locator, detector.sampling["segment_length"]
    late = causal_delay(locator.sigma)
    print(
        f"hhvad: watching {watcher.root}: segments of {length} frames, smoothing sigma "
        f"{locator.sigma:g}, on average {late:.2f} segments late ({late * length / 25:.1f} s at 25 "
        "frames a second)",
        file=sys.stderr,
    )


def _start_outputs(watcher: Watcher, sends: dict[str, Send]) -> None:
    from functools import partial

    from hhvad.live.watch.outputs import STDOUT, Output, to_stdout
    from hhvad.live.watch.watcher import EVENTS, STATE

    for name, send in ((STDOUT, to_stdout), *sends.items()):
        told = watcher.root / STATE / f"{name}.told"
        report = partial(watcher.metrics.output, name)
        watcher.outputs.append(Output(name, send, watcher.root / EVENTS, told, report))


def _finish(outputs: list[Output], seconds: float) -> None:
    end = time.monotonic() + seconds
    for output in outputs:
        if (left := output.finish(end - time.monotonic())) and output.broken is None:
            print(
                f"hhvad: note: {output.name} has not been told {left} changes of events; the next "
                "run tells them",
                file=sys.stderr,
            )


def _show_status(watcher: Watcher) -> None:
    """A line of status on a terminal, changed in place; elsewhere one a minute."""
    is_terminal = sys.stderr.isatty()
    before, after = ("\r\x1b[K", "") if is_terminal else ("hhvad: ", "\n")
    due = time.monotonic() + _STATUS
    while not watcher.stopping:
        time.sleep(1.0)
        if is_terminal or time.monotonic() > due:
            print(f"{before}{watcher.metrics.line()}", end=after, file=sys.stderr, flush=True)
            due = time.monotonic() + _STATUS
    if is_terminal:
        print(file=sys.stderr)


class Page:
    """The pages of the days in a folder: DIR/YYYY-MM-DD/index.html, written in a thread."""

    def __init__(self, arguments: Namespace, detector: Detector) -> None:
        import queue

        self._out: Path = arguments.page
        self._refresh, self._timeout = arguments.refresh, arguments.timeout
        self._detector = detector
        self._done: queue.Queue[Done | None] = queue.Queue()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def add(self, done: Done) -> None:
        """Show a recording that is judged."""
        self._done.put(done)

    def finish(self) -> None:
        """Write what is left, and end."""
        self._done.put(None)
        self._thread.join()

    def _run(self) -> None:
        from queue import Empty

        from hhvad.errors import HHVADError

        days: set[str] = set()  # whose pages are old
        written = -math.inf
        going = True
        while going:
            try:
                done = self._done.get(timeout=1.0)
                going = done is not None
            except Empty:
                done = None
            try:
                if done is not None:
                    days.add(self._write(done))
                if days and (not going or time.monotonic() - written >= self._refresh):
                    for day in sorted(days):
                        self._build(day)
                    days.clear()
                    written = time.monotonic()
            except HHVADError as error:
                print(f"hhvad: note: page: {error}", file=sys.stderr)

    def _rows(self, day: str) -> list[tuple[str, str, str]]:
        """Id, path and camera of the day's recordings."""
        from hhvad.files import read_tsv

        path = self._out / day / "videos.tsv"
        rows = read_tsv(path, ("video", "path", "camera")) if path.exists() else []
        return [(row["video"], row["path"], row["camera"]) for row in rows]

    def _write(self, done: Done) -> str:
        """Write a recording's files as `hhvad detect` does; its day."""
        from datetime import UTC, datetime

        from hhvad.artifacts import scores
        from hhvad.cli.locate import write_localization
        from hhvad.datasets.folder import new_id
        from hhvad.files import write_json, write_tsv
        from hhvad.localization.locator import events
        from hhvad.media.probe import sample_thumbnails

        clip, locator = done.clip, self._detector.locator
        day = (clip.started or datetime.now(UTC)).date().isoformat()
        out = self._out / day
        path = str(clip.path.resolve())
        rows = [row for row in self._rows(day) if row[1] != path]
        name = new_id(Path(clip.path.name), {row[0].lower() for row in rows})
        write_json(out / f"locator/{METHOD}.json", locator.to_json())
        write_json(out / f"probe/{name}.json", done.info.to_json(name))
        scores.write(out / f"scores/{METHOD}/{name}.tsv", done.bounds, done.scores)
        count = locator.judged(done.bounds)
        write_localization(
            Namespace(
                video=name,
                method=METHOD,
                out_scores=out / f"localization/{METHOD}/{name}.tsv",
                out_events=out / f"events/{METHOD}/{name}.tsv",
                out_json=out / f"events/{METHOD}/{name}.json",
            ),
            locator,
            done.info,
            scores.Segments(done.bounds, done.scores),
            done.smoothed,
            done.taus,
            events(done.smoothed[:count], done.taus[:count], done.bounds[:count]),
        )
        sample_thumbnails(
            clip.path,
            done.info,
            out / f"thumbnails/{name}.h5",
            video=name,
            count=PICTURES,
            width=WIDTH,
            timeout=self._timeout,
        )
        rows.append((name, path, clip.camera))
        write_tsv(out / "videos.tsv", ("video", "path", "camera"), rows)
        return day

    def _build(self, day: str) -> None:
        from hhvad.records import Video
        from hhvad.viewer.page import build

        out = self._out / day
        videos = [
            Video(name, path, "test", camera=camera) for name, path, camera in self._rows(day)
        ]
        build(
            [video for video in videos if Path(video.path).exists()] or videos,
            results=out,
            study=day,
            methods=[METHOD],
            video_root=Path(),
            masks=self._detector.masks,
            out=out / "index.html",
        )
