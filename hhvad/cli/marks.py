"""Commands of rules/marks.smk: what a person's marks of events teach."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hhvad.artifacts.hdf5 import Artifact
    from hhvad.localization.suppress import Ordinary
    from hhvad.records import Event


def add_commands(commands: Any) -> None:
    """Add learn-marks."""
    p = commands.add_parser(
        "learn-marks",
        help="turn marked events into vectors that later events are compared with",
        description="Write the mean expert features of each event that was marked true or false, "
        "centred and scaled by ordinary footage: that of its camera, or of all.",
    )
    p.add_argument("--method", required=True, metavar="NAME", help="whose events were marked")
    p.add_argument("--marks", required=True, metavar="TSV", help="exported by the viewer")
    p.add_argument("--videos", required=True, nargs="*", metavar="ID", help="that have marks")
    p.add_argument("--cameras", required=True, nargs="*", metavar="ID", help="one per video")
    p.add_argument("--features", required=True, nargs="*", metavar="H5", help="one per video")
    p.add_argument("--ordinary", required=True, nargs="+", metavar="H5", help="features of it")
    p.add_argument(
        "--ordinary-cameras", required=True, nargs="*", metavar="ID", help="one per file, or none"
    )
    p.add_argument("--scorer", required=True, metavar="H5", help="whose experts are read")
    p.add_argument("--out", required=True, metavar="H5")
    p.set_defaults(run=_learn_marks)


def _flat(path: str, scorer: Artifact) -> tuple[Any, Any]:
    """Segments [T, 2] of a capture and the experts' features, one behind the other [T, K * D]."""
    from hhvad.artifacts import hdf5

    found = hdf5.head_features(path, scorer["experts"])
    return found["segments"], found["features"].reshape(len(found["features"]), -1)


def _learn_marks(arguments: Namespace) -> None:
    import numpy as np

    from hhvad.artifacts import hdf5
    from hhvad.localization import suppress
    from hhvad.viewer import marks

    scorer = hdf5.read(arguments.scorer, "scorer")
    usual = _ordinary(arguments, scorer)
    files = dict(zip(arguments.videos, arguments.features, strict=True))
    cameras = dict(zip(arguments.videos, arguments.cameras, strict=True))
    rows: list[dict[str, Any]] = []
    found, unused = [], 0
    for mark in marks.decided(marks.read(arguments.marks), arguments.method):
        vector = None
        if mark.video in files:
            camera = cameras[mark.video]
            bounds, features = _flat(files[mark.video], scorer)
            span = [(mark.start, mark.end)]
            vector = suppress.vectors(features, bounds, span, usual.get(camera, usual[""]))
        if vector is None or not vector.units.any():
            unused += 1
            continue
        found.append(vector)
        given = {"video": mark.video, "start": mark.start, "end": mark.end, "mark": mark.mark}
        rows.append({**given, "camera": camera})
    if unused:
        print(
            f"hhvad: note: {arguments.marks}: {unused} marks are of videos or frames that are no "
            "longer there: kept in the file, and not used",
            file=sys.stderr,
        )
    width = len(usual[""].centre)
    arrays = {
        "vectors": np.concatenate([np.zeros((0, width)), *(one.units for one in found)]),
        "segments": np.array([one.segments[0] for one in found], dtype=np.int64),
        "centre": np.stack([one.centre for one in usual.values()]),
        "scale": np.stack([one.scale for one in usual.values()]),
    }
    provenance = {"method": arguments.method, "cameras": list(usual), "marks": rows}
    hdf5.write(arguments.out, "marks", arrays, {**provenance, "unused": unused})


def _ordinary(arguments: Namespace, scorer: Artifact) -> dict[str, Ordinary]:
    """Ordinary footage of each camera that has some, and of all under ''."""
    import numpy as np

    from hhvad.localization.suppress import ordinary

    parts: dict[str, list[Any]] = {"": []}
    cameras = arguments.ordinary_cameras or [""] * len(arguments.ordinary)
    for path, camera in zip(arguments.ordinary, cameras, strict=True):
        features = _flat(path, scorer)[1]
        for name in dict.fromkeys(("", camera)):
            parts.setdefault(name, []).append(features)
    return {name: ordinary(np.concatenate(parts[name])) for name in sorted(parts)}


def judge(arguments: Namespace, events: Sequence[Event]) -> tuple[list[dict[str, Any]], list[str]]:
    """What suppresses each event of a video, '' for none, as columns of its row; and notes."""
    import numpy as np

    from hhvad.artifacts import hdf5
    from hhvad.localization import suppress
    from hhvad.localization.suppress import Ordinary

    learned = hdf5.read(arguments.marks, "marks")
    names, rows = learned.provenance["cameras"], learned.provenance["marks"]
    at = names.index(arguments.camera if arguments.camera in names else "")
    bounds, features = _flat(arguments.features, hdf5.read(arguments.scorer, "scorer"))
    spans = [(event.start, event.end) for event in events]
    usual = Ordinary(learned["centre"][at], learned["scale"][at])
    own = [i for i, row in enumerate(rows) if row["camera"] == arguments.camera]
    matches = suppress.suppressed(
        suppress.vectors(features, bounds, spans, usual),
        suppress.Vectors(learned["vectors"][own], learned["segments"][own]),
        np.array([rows[i]["mark"] == "false" for i in own], dtype=bool),
        arguments.similarity,
    )
    columns = []
    for match in matches:
        mark = rows[own[match.mark]] if match else None
        name = f"{mark['video']} {mark['start']}-{mark['end']}" if mark else ""
        columns.append({"suppressed": name, "cosine": round(match.cosine, 4) if match else ""})
    lost = [
        row
        for row in rows
        if row["video"] == arguments.video
        and not any(start < row["end"] and row["start"] < end for start, end in spans)
    ]
    notes = [f"{len(lost)} marks are of events that are no longer found; they are kept"]
    return columns, notes if lost else []
