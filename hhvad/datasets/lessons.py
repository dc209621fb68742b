"""Which questions and answers a model may learn from: those about calibration videos alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from hhvad.artifacts.probe import Probe
from hhvad.datasets.annotation import counted
from hhvad.datasets.hivau_items import Item
from hhvad.errors import AnnotationError
from hhvad.records import Video

TESTED = {"ucf-crime": "UCF-Crime", "xd-violence": "XD-Violence"}  # whose test videos are known


def choose(
    items: Sequence[Item], videos: Mapping[str, Video], probes: Mapping[str, Probe]
) -> tuple[list[Item], dict[str, int]]:
    """The items to learn from, and how many are about videos that the sheet has not, by video.

    probes: of all calibration, validation and test videos. Raises AnnotationError where an item is
    about a video that results are judged by: a test or validation video of the sheet, a file that
    is the same as one of these, or a test video of a known data set; and where a range lies outside
    its video.
    """
    judged = {
        probe.fingerprint: name
        for name, probe in probes.items()
        if videos[name].split in ("test", "validation")
    }
    official = {name: title for key, title in TESTED.items() for name in counted(None, key)}
    why: dict[str, str] = {}
    for name in dict.fromkeys(item.video for item in items):
        video = videos.get(name)
        if name in official:
            why[name] = f"a test video of {official[name]}"
        elif video is not None and video.split != "calibration":
            why[name] = f"split {video.split}"
        elif video is not None and probes[name].fingerprint in judged:
            why[name] = f"the same file as {judged[probes[name].fingerprint]}"
    refused = Counter(item.video for item in items if item.video in why)
    if refused:
        shown = [f"{name} ({why[name]})" for name in list(refused)[:5]]
        raise AnnotationError(
            f"{refused.total()} of {len(items)} questions are about {len(refused)} videos that "
            f"results are judged by, of which a model must not learn: {', '.join(shown)}"
            f"{', ...' if len(refused) > 5 else ''}; leave them out, or correct the sheet"
        )
    absent = Counter(item.video for item in items if item.video not in videos)
    kept = [item for item in items if item.video in videos]
    for item in kept:
        frames = probes[item.video].frames
        if not 0 <= item.start < item.end <= frames:
            raise AnnotationError(
                f"question {item.id} is about frames {item.start}-{item.end} of video "
                f"{item.video}, which has {frames}: the file is another one"
            )
    return kept, dict(absent)


def ranges(items: Sequence[Item], video: str, probe: Probe) -> list[tuple[int, int]]:
    """The ranges of a video that some item is about, in order, without those all damaged."""
    whole = probe.undamaged()
    asked = sorted({(item.start, item.end) for item in items if item.video == video})
    bounds = np.searchsorted(whole, np.array(asked, np.int64).reshape(-1, 2))
    return [
        span for span, (first, last) in zip(asked, bounds.tolist(), strict=True) if first < last
    ]
