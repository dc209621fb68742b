"""Videos with numbered frames of which some data is lost on the way to the file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from numbered import write_numbered

KEY = 24  # frames from one key frame to the next
OPTIONS = {
    "libx264": {"bf": "2", "g": str(KEY)},
    "libx265": {"x265-params": f"log-level=none:keyint={KEY}:min-keyint={KEY}:bframes=2"},
    "mpeg2video": {"bf": "2", "g": str(KEY)},
    "mpeg4": {"bf": "2", "g": str(KEY)},
}


def write(path: Path, codec: str = "libx264", count: int = 200) -> Path:
    """A whole video at 25 frames a second, with a key frame every KEY frames."""
    return write_numbered(
        path, count, 25, size=(288, 384), codec=codec, options=OPTIONS.get(codec, {})
    )


def lose(path: Path, is_lost: Callable[[float], bool]) -> None:
    """Take packets out of a transport stream; is_lost: by their place in the video, 0 to 1."""
    data = path.read_bytes()
    packets = [data[i : i + 188] for i in range(0, len(data), 188)]
    picture = [n for n, one in enumerate(packets) if int.from_bytes(one[1:3]) & 0x1FFF == 0x100]
    gone = {n for place, n in enumerate(picture) if is_lost(place / len(picture))}
    path.write_bytes(b"".join(one for n, one in enumerate(packets) if n not in gone))


def blank(path: Path, share: float, count: int) -> None:
    """Overwrite bytes at a place in the file with zeros."""
    data = path.read_bytes()
    at = int(len(data) * share)
    path.write_bytes(data[:at] + bytes(count) + data[at + count :])
