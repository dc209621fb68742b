"""What is hidden from the models, as a picture."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

WIDEST = 1280  # pixels


def add_commands(commands: Any) -> None:
    """Add show-mask."""
    p = commands.add_parser(
        "show-mask",
        help="write a picture of what is hidden from the models",
        description="Write a frame of a camera's video. What its mask hides is faint and framed "
        "by a line.",
    )
    p.add_argument("camera", metavar="CAMERA")
    p.add_argument("--config", default="config/config.yaml", metavar="YAML")
    p.add_argument("--out", type=Path, metavar="PNG", help="default: mask-CAMERA.png")
    p.set_defaults(run=_show_mask)


def _show_mask(arguments: Namespace) -> None:
    from PIL import Image

    from hhvad.errors import ConfigError, VideoError
    from hhvad.files import atomic_path
    from hhvad.media.mask import draw
    from hhvad.study import Study

    study, camera = Study.read(arguments.config), arguments.camera
    if study.config.masks is None:
        raise ConfigError(f"{arguments.config}: masks is not set: nothing is hidden")
    if camera not in study.masks:
        raise ConfigError(
            f"{study.config.masks} has no camera {camera!r}; it has {', '.join(study.masks)}"
        )
    videos = [video for video in study.videos.values() if video.camera == camera]
    there = [video for video in videos if Path(video.path).is_file()]
    if not there:
        raise VideoError(
            f"{study.config.videos}: none of the {len(videos)} videos of camera {camera} is there; "
            "a mask is drawn over a frame of one"
        )
    out: Path = arguments.out or Path(f"mask-{camera}.png")
    polygons = study.masks[camera]
    picture = draw(_frame(there[0].path), polygons)
    with atomic_path(out) as partial:
        Image.fromarray(picture).save(partial, format="PNG")
    print(f"{out}: {len(polygons)} polygons over a frame of {there[0].video}")


def _frame(path: str) -> NDArray[np.uint8]:
    """The middle frame of a video, upright, in the shape in which it is shown."""
    from tempfile import TemporaryDirectory

    from hhvad.artifacts import hdf5
    from hhvad.errors import VideoError
    from hhvad.media.probe import probe, sample_thumbnails

    info = probe(path)
    with TemporaryDirectory(prefix="hhvad-") as folder:
        file = Path(folder) / "frame.h5"
        width = min(WIDEST, info.width)
        sample_thumbnails(path, info, file, video="frame", count=1, width=width)
        pictures = hdf5.read(file, "thumbnails", ("pictures",))["pictures"]
    if not len(pictures):
        raise VideoError(f"{path}: its middle frame does not decode")
    frame: NDArray[np.uint8] = pictures[0]
    return frame
