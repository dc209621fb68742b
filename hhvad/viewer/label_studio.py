"""Events as tasks of Label Studio, and what a person made of them there, for the sheet.

Label Studio counts a video's frames from 1 at the constant rate that the task names, and a range
names its first and last frame. Where frames come at changing distances, that count is another one
than ours: both directions go through the seconds of the probe.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hhvad.artifacts.probe import Probe
from hhvad.errors import AnnotationError
from hhvad.files import read_json, write_json, write_text
from hhvad.viewer.exports import LABEL, Exported, url

PREFIX = "/data/local-files/?d="  # where Label Studio serves files of its own machine
KIND = "timelinelabels"
INTERFACE = f"""<View>
  <Video name="video" value="$video" frameRate="$fps"/>
  <TimelineLabels name="events" toName="video">
    <Label value="{LABEL}"/>
  </TimelineLabels>
</View>
"""


def write(exported: Sequence[Exported], out: Path) -> None:
    """tasks.json to be imported, with the events as predictions, and interface.xml to label in."""
    write_json(out / "tasks.json", [_task(one) for one in exported])
    write_text(out / "interface.xml", INTERFACE)


def _task(one: Exported) -> dict[str, Any]:
    regions = [
        {
            "id": f"event-{number}",
            "from_name": "events",
            "to_name": "video",
            "type": KIND,
            "value": {
                "ranges": [_range(one.probe, event.start_frame, event.end_frame)],
                KIND: [LABEL],
            },
            "score": event.peak_score,
        }
        for number, event in enumerate(one.events, start=1)
    ]
    best = max((event.peak_score for event in one.events), default=0.0)
    return {
        "data": {
            "video": url(one.video.path, PREFIX),
            "fps": one.probe.fps,
            "hhvad_video": one.video.video,
        },
        "predictions": [{"model_version": one.method, "score": best, "result": regions}],
    }


def _range(probe: Probe, start: int, end: int) -> dict[str, int]:
    """Frames [start, end) as Label Studio names them."""
    first = round(probe.seconds(start) * probe.fps)
    return {"start": first + 1, "end": max(first + 1, round(probe.seconds(end) * probe.fps))}


def read(
    path: str | Path, probe_of: Callable[[str], Probe]
) -> dict[str, list[tuple[int, int]] | str]:
    """What people said of each video of an export (JSON): its events [start, end), or why nothing.

    probe_of: the probe of a video by its id. A submitted annotation without a range says that
    nothing happens. A region counts whatever its label is.
    Raises AnnotationError for what is no export of tasks that `write` made.
    """
    tasks = read_json(path)
    if not isinstance(tasks, list):
        raise AnnotationError(f"{path}: not a list of tasks; export as JSON, not as JSON-MIN")
    found: dict[str, list[tuple[int, int]] | str] = {}
    for number, task in enumerate(tasks, start=1):
        where = f"{path}: task {number}"
        try:
            video, fps = task["data"]["hhvad_video"], float(task["data"]["fps"])
            done = [one for one in task["annotations"] if not one.get("was_cancelled")]
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise AnnotationError(
                f"{where}: not as export-events wrote it ({error!r}); export as JSON with the "
                "tasks' own data"
            ) from error
        if not isinstance(video, str) or not fps > 0:
            raise AnnotationError(f"{where}: hhvad_video is {video!r} and fps {fps}")
        if video in found:
            raise AnnotationError(f"{where}: video {video!r} has another task; keep one")
        if len(done) == 1:
            info = probe_of(video)
            found[video] = _events(done[0], info, fps, f"{where} (video {video})")
        elif done:
            found[video] = f"{len(done)} annotations; keep one of them in Label Studio"
        else:
            found[video] = "no submitted annotation"
    return found


def _events(
    annotation: Mapping[str, Any], probe: Probe, fps: float, where: str
) -> list[tuple[int, int]]:
    """The ranges of an annotation in frames [start, end) of the video."""
    try:
        spans = [
            (int(span["start"]), int(span["end"]))
            for region in annotation["result"]
            if region["type"] == KIND
            for span in region["value"]["ranges"]
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise AnnotationError(f"{where}: a region is no timeline range ({error!r})") from error
    events = []
    for first, last in spans:
        # Its count may exceed ours by a frame or two: an end past the video's is the video's.
        start, end = probe.frame((first - 1) / fps), min(probe.frame(last / fps), probe.frames)
        if not 1 <= first <= last or not start < end:
            raise AnnotationError(
                f"{where}: range {first}-{last} holds no frame of the video, which has "
                f"{probe.frames}"
            )
        events.append((start, end))
    return events
