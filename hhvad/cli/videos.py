"""Commands of stage videos: what a file is, and the frames that the model will see."""

from __future__ import annotations

import argparse
import math
import sys
from typing import Any


def add_commands(commands: Any) -> None:
    """Add probe-video, sample-frames and sample-thumbnails."""
    probe = commands.add_parser(
        "probe-video",
        help="read what a video file is",
        description="Write frame rate, exact number of frames, size, codec and decoder as JSON.",
    )
    probe.add_argument("--video", required=True, metavar="ID")
    probe.add_argument("--path", required=True, help="the video file")
    probe.add_argument("--timeout", type=_seconds, required=True, metavar="SECONDS")
    probe.add_argument(
        "--events",
        default="none",
        metavar="START-END;...",
        help="annotated events to hold against the video: frames, or seconds with an s behind",
    )
    add_on_damage(probe)
    probe.add_argument("--out", required=True, metavar="JSON")
    probe.set_defaults(run=_probe_video)

    sample = commands.add_parser(
        "sample-frames",
        help="decode a video once and keep some frames",
        description="Write F frames of the whole video, or of each segment, resized, as HDF5. In "
        "view grid they are the first ones of the segment.",
    )
    sample.add_argument("--video", required=True, metavar="ID")
    sample.add_argument("--path", required=True, help="the video file")
    sample.add_argument("--probe", required=True, metavar="JSON", help="from probe-video")
    sample.add_argument(
        "--view", required=True, metavar="VIEW", help="video, video-but-last, segments or grid"
    )
    sample.add_argument("--frames-per-segment", type=_count, required=True, metavar="F")
    sample.add_argument("--segment-length", type=_count, required=True, metavar="FRAMES")
    sample.add_argument("--size", type=_count, nargs=2, required=True, metavar=("HEIGHT", "WIDTH"))
    add_fit(sample)
    sample.add_argument("--threads", type=_count, required=True, metavar="N", help="that decode")
    sample.add_argument("--mask", metavar="POLYGONS", help="what is hidden, as JSON")
    sample.add_argument(
        "--keep-mb",
        type=_mebibytes,
        metavar="N",
        help="MiB of frames that are kept; what a longer video has beyond is left out",
    )
    sample.add_argument("--timeout", type=_seconds, required=True, metavar="SECONDS")
    sample.add_argument("--out", required=True, metavar="H5")
    sample.set_defaults(run=_sample_frames)

    small = commands.add_parser(
        "sample-thumbnails",
        help="keep small pictures of a video",
        description="Write up to N small pictures at even distances, upright, in the shape in "
        "which the video is shown, as HDF5. Pictures that cannot be had are left out.",
    )
    small.add_argument("--video", required=True, metavar="ID")
    small.add_argument("--path", required=True, help="the video file")
    small.add_argument("--probe", required=True, metavar="JSON", help="from probe-video")
    small.add_argument("--count", type=_count, required=True, metavar="N", help="how many")
    small.add_argument("--width", type=_count, required=True, metavar="N", help="in pixels")
    small.add_argument("--timeout", type=_seconds, required=True, metavar="SECONDS")
    small.add_argument("--out", required=True, metavar="H5")
    small.set_defaults(run=_sample_thumbnails)


def add_fit(parser: Any) -> None:
    """Add --fit, of the commands that write frames."""
    parser.add_argument(
        "--fit",
        choices=("stretch", "crop"),
        default="stretch",
        help="crop covers the size without a change of shape and cuts to the middle (default: "
        "stretch)",
    )


def add_on_damage(parser: Any, default: str | None = "fail") -> None:
    """Add --on-damage, of the commands that probe videos to judge them."""
    parser.add_argument(
        "--on-damage",
        choices=("fail", "skip-to-keyframe"),
        default=default,
        help="skip-to-keyframe leaves the damaged stretches of a video out (default: "
        f"{default or 'as the config says, else fail'})",
    )


def _count(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) <= 16384:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 to 16384")
    return int(text)


def _mebibytes(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of MiB from 1 up")
    return int(text)


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value <= 1e6:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds up to a million")
    return value


def _probe_video(arguments: argparse.Namespace) -> None:
    from hhvad import sheet
    from hhvad.files import write_json
    from hhvad.media.probe import probe
    from hhvad.records import Video

    sheet.check_id(arguments.video, "--video")
    events = sheet.parse_events(arguments.events, "--events")
    info = probe(arguments.path, arguments.timeout, arguments.on_damage)
    row = Video(arguments.video, arguments.path, "test", "anomaly", events=events)
    sheet.event_frames(row, info)
    if info.damaged:
        lost = info.frames - len(info.undamaged())
        print(f"hhvad: note: {arguments.path}: {lost} frames are damaged", file=sys.stderr)
    write_json(arguments.out, info.to_json(arguments.video))


def _sample_frames(arguments: argparse.Namespace) -> None:
    from hhvad import masks
    from hhvad.artifacts import probe
    from hhvad.media.probe import sample_frames

    sample_frames(
        arguments.path,
        probe.read(arguments.probe),
        arguments.out,
        video=arguments.video,
        view=arguments.view,
        frames_per_segment=arguments.frames_per_segment,
        segment_length=arguments.segment_length,
        size=arguments.size,
        threads=arguments.threads,
        timeout=arguments.timeout,
        mask=masks.from_text(arguments.mask),
        fit=arguments.fit,
        keep_mb=arguments.keep_mb,
    )


def _sample_thumbnails(arguments: argparse.Namespace) -> None:
    from hhvad.artifacts import hdf5, probe
    from hhvad.media.probe import sample_thumbnails

    info = probe.read(arguments.probe)
    sample_thumbnails(
        arguments.path,
        info,
        arguments.out,
        video=arguments.video,
        count=arguments.count,
        width=arguments.width,
        timeout=arguments.timeout,
    )
    wanted = min(arguments.count, len(info.undamaged()))
    found = len(hdf5.read(arguments.out, "thumbnails", ("frames",))["frames"])
    if found < wanted:
        print(
            f"hhvad: note: {arguments.path}: only {found} of its thumbnails decode",
            file=sys.stderr,
        )
