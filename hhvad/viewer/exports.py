"""Detected events for the tools in which people annotate videos: Label Studio, FiftyOne, WebVTT.

Each writer (hhvad.viewer.EXPORTS) takes the videos with their events and where to write.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from hhvad.artifacts import probe
from hhvad.artifacts.probe import Probe
from hhvad.errors import SheetError
from hhvad.files import write_json, write_text
from hhvad.records import Video
from hhvad.viewer import study
from hhvad.viewer.study import ViewerEvent

LABEL = "anomaly"


@dataclass(frozen=True)
class Exported:
    """A video with the events of one method."""

    video: Video
    probe: Probe
    method: str
    events: Sequence[ViewerEvent]


def read(results: Path, videos: Sequence[Video], method: str) -> list[Exported]:
    """The videos in which a method has looked for events. Raises SheetError where there is none."""
    found = []
    for video in videos:
        path = results / "events" / method / f"{video.video}.json"
        if path.is_file():
            events, _ = study.read_events(path, method, video.video)
            info = probe.read(results / "probe" / f"{video.video}.json")
            found.append(Exported(video, info, method, events))
    if not found:
        raise SheetError(
            f"{results}: method {method!r} has no events of any video of the sheet; run the study, "
            "or name another method"
        )
    return found


def write_fiftyone(exported: Sequence[Exported], out: Path) -> None:
    """A folder that FiftyOne reads as a FiftyOneTemporalDetectionDataset.

    labels.json holds the events, data.json where each video is. FiftyOne counts frames from 1 and
    names the last one.
    """
    labels: dict[str, list[dict[str, Any]]] = {
        one.video.video: [
            {
                "label": LABEL,
                "support": [event.start_frame + 1, event.end_frame],
                "confidence": event.peak_score,
                "attributes": {"method": event.method, "description": event.description},
            }
            for event in one.events
        ]
        for one in exported
    }
    paths = {one.video.video: os.path.relpath(one.video.path, out) for one in exported}
    write_json(out / "labels.json", {"classes": None, "labels": labels})
    write_json(out / "data.json", paths)


def write_webvtt(exported: Sequence[Exported], out: Path) -> None:
    """A folder with VIDEO.vtt for each video: a cue per event, for players that show subtitles."""
    for one in exported:
        cues = [
            f"{_clock(event.start_seconds)} --> {_clock(event.end_seconds)}\n{_said(event)}\n"
            for event in one.events
        ]
        write_text(out / f"{one.video.video}.vtt", "\n".join(["WEBVTT\n", *cues]))


def _said(event: ViewerEvent) -> str:
    words = f"{LABEL} {event.peak_score:.2f} {event.description}".strip()
    return words.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _clock(seconds: float) -> str:
    """Hours, minutes, seconds and milliseconds."""
    milliseconds = round(1000 * seconds)
    minutes, rest = divmod(milliseconds, 60_000)
    return f"{minutes // 60:02}:{minutes % 60:02}:{rest // 1000:02}.{rest % 1000:03}"


def url(path: str, prefix: str) -> str:
    """Where a browser finds a video."""
    return prefix + quote(path.removeprefix("./").removeprefix("/"), safe="/")
