"""Your own videos in a folder, as rows of a sheet."""

from __future__ import annotations

import re
from pathlib import Path

from hhvad import sheet
from hhvad.datasets.annotation import VIDEO_FILES, find_videos
from hhvad.errors import SheetError
from hhvad.records import Video


def folder_rows(folder: str | Path) -> list[Video]:
    """Rows for the videos in a folder.

    Those under `normal/` and `anomaly/` are for calibration, all others are unlabelled test videos.
    An id is the path inside the folder, with `-` between its parts.
    """
    root = Path(folder)
    files = sorted(path for paths in find_videos([root]).values() for path in paths)
    if not files:
        raise SheetError(f"{root}: no video file in it; known: {' '.join(sorted(VIDEO_FILES))}")
    rows = []
    for path in files:
        parts = path.relative_to(root).with_suffix("").parts
        name = re.sub(r"[^A-Za-z0-9._=#-]+", "_", "-".join(parts)).strip("._=#-")
        sheet.check_id(name, str(path))
        label = parts[0] if parts[0] in ("normal", "anomaly") and len(parts) > 1 else None
        rows.append(Video(name, str(path), "calibration" if label else "test", label))
    return rows
