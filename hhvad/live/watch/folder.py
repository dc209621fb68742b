"""The recordings in a folder: one subfolder per camera, or videos of one camera.

The folder is listed once a second instead of watched with inotify: that works the same on local
disks and on network file systems, where inotify does not see what other machines write.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from hhvad.clock import start_in_name
from hhvad.datasets.annotation import VIDEO_FILES
from hhvad.errors import ConfigError
from hhvad.records import ONE_CAMERA

NAMES = "_%Y%m%dT%H%M%S.%f%z"  # how `hhvad record` names its files behind the camera


@dataclass(frozen=True)
class Clip:
    """One recording. name: its path below the folder. started: when its first frame was recorded,
    None where its name does not say."""

    camera: str
    name: str
    path: Path
    started: datetime | None

    @classmethod
    def of(cls, root: Path, path: Path) -> Clip:
        """The recording at a path below the folder `root`."""
        started = start_in_name(path.name, NAMES)
        return cls(
            camera=ONE_CAMERA if path.parent == root else path.parent.name,
            name=path.relative_to(root).as_posix(),
            path=path,
            started=None if started is None else datetime.fromisoformat(started),
        )


class Folder:
    """What comes into a folder. Raises ConfigError where there is no such folder."""

    def __init__(self, root: Path) -> None:
        if not root.is_dir():
            raise ConfigError(f"{root}: there is no such folder; name the one of the recordings")
        self.root = root
        self._seen: set[str] = set()
        self._growing: dict[Path, tuple[int, int]] = {}

    def know(self, name: str) -> None:
        """The recording of this name is not new."""
        self._seen.add(name)

    def new(self, *, wait: bool = True) -> list[Clip]:
        """The recordings that this has not given before, by camera and then by time.

        A file whose name tells its start is taken at once, since `hhvad record` renames finished
        ones. Any other must have the same size and time twice; wait=False takes it as it is.
        """
        found, there = [], set()
        for path in self._videos():
            name = path.relative_to(self.root).as_posix()
            there.add(name)
            if name in self._seen:
                continue
            clip = Clip.of(self.root, path)
            if clip.started is None and wait and not self._settled(path):
                continue
            found.append(clip)
        self._seen = (self._seen & there) | {clip.name for clip in found}
        return sorted(found, key=_order)

    def _videos(self) -> list[Path]:
        folders = [self.root]
        files = []
        for folder in folders:
            try:
                for path in folder.iterdir():
                    if path.name.startswith("."):
                        continue
                    if path.suffix.lower() in VIDEO_FILES:
                        files.append(path)
                    elif folder == self.root and path.is_dir():
                        folders.append(path)
            except FileNotFoundError:
                continue  # its camera was taken away
            except OSError as error:
                raise ConfigError(f"{folder}: cannot be listed: {error.strerror}") from error
        return files

    def _settled(self, path: Path) -> bool:
        try:
            status = path.stat()
        except OSError:
            return False
        state = (status.st_size, status.st_mtime_ns)
        if self._growing.get(path) == state:
            del self._growing[path]
            return True
        self._growing[path] = state
        return False


def _order(clip: Clip) -> tuple[str, str, str]:
    return clip.camera, "" if clip.started is None else clip.started.isoformat(), clip.name
