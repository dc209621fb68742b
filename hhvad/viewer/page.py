"""Write the viewer: index.html, its data beside it, and the events of the study as tables.

    index.html             the page with its code and styles inlined
    events.csv, events.json  one row per event
    data/study.js          methods, videos and events: the list
    data/metrics.js        the metrics tab
    data/videos/VIDEO.js   the score curves of one video
    data/thumbnails/VIDEO.jpg  its small pictures as one sprite

The page loads data with script tags, since a page that is opened from disk may not fetch files.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import html
import io
import json
import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.resources import files
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from hhvad.artifacts import scores
from hhvad.errors import ArtifactError
from hhvad.files import atomic_path, read_json, read_text, read_tsv, write_json, write_text
from hhvad.localization.locator import Locator
from hhvad.masks import Polygon
from hhvad.records import Video
from hhvad.viewer.study import (
    Curve,
    Shown,
    ViewerEvent,
    plain,
    ranked,
    read_locators,
    read_video,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from hhvad.media.time import FrameTimes

# Raise it when the page changes: the rule carries it in its params.
VIEWER_VERSION = 4

EVENT_COLUMNS = (
    "rank",
    "method",
    "video",
    "split",
    "label",
    "category",
    "start_frame",
    "end_frame",
    "start_seconds",
    "end_seconds",
    "started_at",
    "peak_score",
    "description",
)

# What Chromium, Firefox and Safari all play, by the end of the name and by codec.
CONTAINERS = (".mp4", ".m4v", ".mov", ".webm", ".ogv")
CODECS = ("h264", "vp8", "vp9", "av1")
PROXY_SUFFIX = ".proxy.mp4"

TILES = 100  # pictures in a sprite
TILE_WIDTH = 160
SENTENCE = 240  # characters of a description in the list; the video's file has all


def build(
    videos: Sequence[Video],
    *,
    results: Path,
    study: str,
    methods: Sequence[str],
    video_root: Path,
    out: Path,
    described: str | None = None,
    masks: Mapping[str, Sequence[Polygon]] | None = None,
) -> dict[str, int]:
    """Write the page to `out` and its data beside it; how many videos and events it shows.

    video_root: the folder that relative paths of the sheet start from. described: the method whose
    events have descriptions. masks: by camera, what was hidden from the models, drawn over the
    thumbnails. Raises ArtifactError where a file of the study is damaged, or no video has scores.
    """
    data = out.parent / "data"
    locators = read_locators(results, methods)
    entries: list[dict[str, Any]] = []
    events: list[ViewerEvent] = []
    sprites: dict[str, Sprite | None] = {}
    for video in videos:
        shown = read_video(results, video, methods, described)
        if shown is None:
            continue
        sprite = write_sprite(
            results / "thumbnails" / f"{video.video}.h5",
            data / "thumbnails" / f"{video.video}.jpg",
            (masks or {}).get(video.camera, ()),
        )
        sprites[video.video] = sprite
        entries.append(_listed(shown, sprite, methods))
        events += shown.events
        details = _details(shown, sprite, video_root, out.parent)
        taus = {m: one.budget.of(video.camera).tau for m, one in locators.items() if one.budget}
        if taus:
            details["taus"] = taus
        hourly = {
            m: steps
            for m, curve in shown.curves.items()
            if m in taus
            and (steps := tau_steps(results / "localization" / m / f"{video.video}.tsv", curve))
        }
        if hourly:
            details["hourly"] = hourly
        _write_script(data / "videos" / f"{video.video}.js", "video", details, video.video)
    if not entries:
        raise ArtifactError(
            f"{results}: no video of the sheet has a file localization/METHOD/VIDEO.tsv for "
            f"{', '.join(methods)}; run the workflow first"
        )
    events = ranked(events, methods)
    write_events(events, videos, out.parent)
    listed = {
        "study": study,
        "sheet_videos": len(videos),
        "methods": [{"name": m, **locators[m].to_json()} for m in methods],
        "videos": entries,
        "events": _columns(events, sprites, methods),
    }
    _write_script(data / "study.js", "study", listed)
    _write_script(data / "metrics.js", "metrics", _metrics(results, methods, locators))
    write_text(out, render(study))
    return {"videos": len(entries), "events": len(events)}


def render(study: str) -> str:
    """The page: the template with code and styles inlined, which the policy allows by digest."""
    room = files("hhvad.viewer")
    styles = [(room / name).read_text("utf-8") for name in ("uplot/uPlot.min.css", "viewer.css")]
    licence = (room / "uplot/LICENSE").read_text("utf-8")
    uplot = f"/*\n{licence}\n*/\n" + (room / "uplot/uPlot.iife.min.js").read_text("utf-8")
    scripts = [uplot, (room / "viewer.js").read_text("utf-8")]
    # Script digests instead of 'unsafe-inline': text that slips in as markup would not run.
    digests = " ".join(
        f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
        for script in scripts
    )
    page = (room / "index.html").read_text("utf-8")
    for name, text in (
        ("POLICY", digests),
        ("STYLES", "\n".join(styles)),
        ("UPLOT", scripts[0]),
        ("VIEWER", scripts[1]),
        ("STUDY", html.escape(plain(study))),
    ):
        page = page.replace(f"[[{name}]]", text)
    return page


def _script(kind: str, value: Any, name: str = "") -> str:
    """A call of the page's `hhvadData`, in ASCII: no text in it ends a script or a line."""
    words = json.dumps([kind, name, value], separators=(",", ":"), allow_nan=False)
    return f"hhvadData(...{words.replace('<', chr(92) + 'u003c')})\n"


def _write_script(path: Path, kind: str, value: Any, name: str = "") -> None:
    text = _script(kind, value, name)
    # Thousands of videos: what has not changed need not be flushed to disk again.
    if not (path.is_file() and path.read_bytes() == text.encode()):
        write_text(path, text)


def _listed(shown: Shown, sprite: Sprite | None, methods: Sequence[str]) -> dict[str, Any]:
    """What the list needs of a video: little, since all videos' are loaded at once."""
    video, info = shown.video, shown.probe
    entry: dict[str, Any] = {
        "video": video.video,
        "split": video.split,
        "label": video.label or "",
        "category": plain(video.category),
        "duration": round(info.seconds(info.frames), 3),
        "key": info.fingerprint[:12],
        "highest": [
            round(float(shown.curves[m].smoothed.max()), 4) if m in shown.curves else None
            for m in methods
        ],
        "annotated": None if shown.annotated is None else len(shown.annotated),
    }
    if info.started:
        entry["started"] = info.started
    if sprite:
        entry["sprite"] = [sprite.width, sprite.height, sprite.columns, len(sprite.seconds)]
    return entry


def _details(shown: Shown, sprite: Sprite | None, video_root: Path, folder: Path) -> dict[str, Any]:
    """What is loaded when a video is opened."""
    video, info = shown.video, shown.probe
    source = video_root / video.path  # an absolute path stays one
    details: dict[str, Any] = {
        "source": quote(Path(os.path.relpath(source, folder)).as_posix()),
        "proxy": proxy_command(os.path.relpath(source, video_root)),
        "times": _times(info.times),
        "curves": {method: _steps(curve) for method, curve in shown.curves.items()},
        "annotated": None
        if shown.annotated is None
        else [[round(start, 3), round(end, 3)] for start, end in shown.annotated],
        "thumbnails": [] if sprite is None else sprite.seconds,
    }
    if info.damaged:
        details["damaged"] = info.damaged_seconds()
    suffix = Path(video.path).suffix.lower()
    if suffix not in CONTAINERS or info.codec not in CODECS:
        details["unplayable"] = f"{info.codec} in {suffix or 'a file without a suffix'}"
    long = {
        f"{event.method}|{event.start_frame}": event.description
        for event in shown.events
        if len(event.description) > SENTENCE
    }
    if long:
        details["descriptions"] = long
    if shown.about:
        details["about"] = shown.about
    return details


def tau_steps(path: Path, curve: Curve) -> list[list[float]]:
    """[second, threshold] from which it holds, in order; empty where one holds for the video."""
    import numpy as np

    taus = scores.read_taus(path)
    if taus is None or (taus == taus[0]).all():
        return []
    changes = np.flatnonzero(np.diff(taus, prepend=np.nan) != 0)  # NaN differs from the first
    return [[round(float(curve.bounds[i, 0]), 3), round(float(taus[i]), 4)] for i in changes]


def _times(times: FrameTimes) -> dict[str, Any]:
    """When frames start: `steps` as the probe's, in units of `unit` seconds; see stepFrame."""
    unit = 1 / times.rate if times.is_constant else times.unit
    steps = times.steps or f"1*{times.count}"
    return {"start": float(times.start), "unit": float(unit), "steps": steps}


def proxy_command(path: str) -> str:
    """The command that makes a copy of a video that browsers play, quoted for a shell."""
    given = path if not path.startswith("-") else f"./{path}"
    return shlex.join(
        [
            *("ffmpeg", "-i", given, "-c:v", "libx264", "-pix_fmt", "yuv420p", "-c:a", "aac"),
            *("-movflags", "+faststart", given + PROXY_SUFFIX),
        ]
    )


def _columns(
    events: Sequence[ViewerEvent], sprites: Mapping[str, Sprite | None], methods: Sequence[str]
) -> dict[str, list[Any]]:
    """Events as columns, ranked: a third of the size of one object per event.

    `video` counts the keys of sprites; `tile` is the thumbnail nearest to an event's middle.
    """
    at = {name: i for i, name in enumerate(sprites)}
    columns: dict[str, list[Any]] = {
        "video": [at[event.video] for event in events],
        "method": [methods.index(event.method) for event in events],
        "start_frame": [event.start_frame for event in events],
        "end_frame": [event.end_frame for event in events],
        "start": [round(event.start_seconds, 3) for event in events],
        "end": [round(event.end_seconds, 3) for event in events],
        "peak": [round(event.peak_score, 4) for event in events],
    }
    if any(sprites.values()):
        columns["tile"] = [_tile(sprites[event.video], event) for event in events]
    if any(event.quiet for event in events):
        columns["quiet"] = [int(bool(event.quiet)) for event in events]
    if any(event.description for event in events):
        columns["text"] = [_sentence(event.description) for event in events]
    return columns


def _tile(sprite: Sprite | None, event: ViewerEvent) -> int:
    if sprite is None:
        return 0
    middle = (event.start_seconds + event.end_seconds) / 2
    return min(range(len(sprite.seconds)), key=lambda i: abs(sprite.seconds[i] - middle))


def _sentence(text: str) -> str:
    return text if len(text) <= SENTENCE else text[: SENTENCE - 1].rstrip() + "…"


def _steps(curve: Curve) -> list[list[float | None]]:
    """Times, scores and smoothed scores of a line of steps; null values where a gap begins."""
    times: list[float | None] = []
    raw: list[float | None] = []
    smoothed: list[float | None] = []
    bounds = curve.bounds.round(3).tolist()
    values = zip(bounds, curve.score.tolist(), curve.smoothed.tolist(), strict=True)
    previous = bounds[0][0]
    for (start, end), score, smooth in values:
        if start > previous:
            times.append(previous)
            raw.append(None)
            smoothed.append(None)
        times.append(start)
        raw.append(round(score, 4))
        smoothed.append(round(smooth, 4))
        previous = end
    times.append(previous)
    raw.append(raw[-1])
    smoothed.append(smoothed[-1])
    return [times, raw, smoothed]


@dataclass(frozen=True)
class Sprite:
    """A picture of equal tiles, row by row: their size in pixels, how many columns, their times."""

    width: int
    height: int
    columns: int
    seconds: list[float]


def write_sprite(source: Path, out: Path, mask: Sequence[Polygon] = ()) -> Sprite | None:
    """A video's thumbnails as one JPEG of equal tiles; where which is. None where there are none.

    mask: what was hidden from the models, drawn over each. Raises ArtifactError where the file is
    damaged.
    """
    if not source.is_file():
        return None
    import numpy as np
    from PIL import Image

    from hhvad.artifacts import hdf5
    from hhvad.media.mask import draw

    artifact = hdf5.read(source, "thumbnails", ("pictures", "seconds"))
    pictures: NDArray[np.uint8] = artifact["pictures"]
    seconds = artifact["seconds"]
    if not len(seconds):
        return None
    if pictures.ndim != 4 or len(pictures) != len(seconds):
        raise ArtifactError(f"{source}: pictures have shape {pictures.shape}; delete it and rerun")
    kept = np.unique(
        np.linspace(0, len(pictures) - 1, min(TILES, len(pictures))).round().astype(int)
    )
    height, width = pictures.shape[1:3]
    size = (min(width, TILE_WIDTH), max(1, round(height * min(width, TILE_WIDTH) / width)))
    columns = min(10, len(kept))
    sheet = Image.new("RGB", (columns * size[0], ceil(len(kept) / columns) * size[1]))
    for place, index in enumerate(kept):
        tile = Image.fromarray(pictures[index]).resize(size, Image.Resampling.LANCZOS)
        if mask:
            tile = Image.fromarray(draw(np.asarray(tile), mask))
        sheet.paste(tile, (place % columns * size[0], place // columns * size[1]))
    with atomic_path(out) as partial:
        sheet.save(partial, format="JPEG", quality=72)
    return Sprite(*size, columns, [round(float(second), 2) for second in seconds[kept]])


def write_events(events: Sequence[ViewerEvent], videos: Sequence[Video], folder: Path) -> None:
    """events.csv and events.json: one row per event, ranked, with EVENT_COLUMNS."""
    rows = {video.video: video for video in videos}
    table = []
    for rank, event in enumerate(events, start=1):
        video = rows[event.video]
        about = {
            "split": video.split,
            "label": video.label or "",
            "category": plain(video.category),
        }
        known = {"rank": rank, **asdict(event), **about}
        table.append({name: known[name] for name in EVENT_COLUMNS})
    write_json(folder / "events.json", table)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(EVENT_COLUMNS)
    writer.writerows([_cell(row[name]) for name in EVENT_COLUMNS] for row in table)
    write_text(folder / "events.csv", text.getvalue())


def _cell(value: Any) -> Any:
    """A value that no spreadsheet takes for a formula."""
    if isinstance(value, str) and value.startswith(("=", "+", "-", "@")):
        return f"'{value}"
    return value


def _metrics(
    results: Path, methods: Sequence[str], locators: Mapping[str, Locator]
) -> dict[str, Any]:
    """Per method: its metrics, experts and RSS map; what is absent is left out."""
    from hhvad.evaluation.evaluate import MEANINGS

    found: dict[str, Any] = {}
    for method in methods:
        entry: dict[str, Any] = {"locator": locators[method].to_json()}
        budget = locators[method].budget
        if budget is not None:
            entry["cameras"] = budget.lines()
        metrics = results / "metrics" / f"{method}.json"
        experts = results / "experts" / f"{method}.tsv"
        rss = results / "figures" / method / "rss.svg"
        if metrics.is_file():
            # The values of single videos are in the list, and would be the most of the file.
            result = read_json(metrics)
            entry["result"] = {k: v for k, v in result.items() if k != "per_video"}
        if experts.is_file():
            entry["experts"] = read_tsv(experts)
        if rss.is_file():
            entry["rss"] = _picture(rss)
        found[method] = entry
    shown: dict[str, Any] = {"meanings": MEANINGS, "methods": found}
    comparison = results / "comparison" / "methods.json"
    if comparison.is_file():
        shown["comparison"] = _comparison(comparison)
    return shown


def _comparison(path: Path) -> dict[str, Any]:
    """The paired differences of methods; what lies beside the file: costs, figures as pictures."""
    result = read_json(path)
    pictures = {}
    for name in ("curves", "videos"):
        file = path.with_name(f"{name}.svg")
        if file.is_file():
            pictures[name] = _picture(file)
    shown = {
        "differences": result["differences"],
        "correction": result["correction"],
        "pictures": pictures,
    }
    costs = path.with_name("costs.json")
    if costs.is_file():
        shown["costs"] = read_json(costs)
    return shown


def _picture(path: Path) -> str:
    """An SVG file as the source of an image: so it runs no script, whatever is in it."""
    return f"data:image/svg+xml;base64,{base64.b64encode(read_text(path).encode()).decode()}"
