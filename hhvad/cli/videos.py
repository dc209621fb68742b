"""Commands of stage videos: what a file is, and the frames that the model will see."""

from __future__ import annotations

import argparse
from typing import Any


def add_commands(commands: Any) -> None:
    """Add probe-video and sample-frames."""
    probe = commands.add_parser("probe-video", help="read what a video file is")
    probe.add_argument("--video", required=True, metavar="ID")
    probe.add_argument("--path", required=True, help="the video file")
    probe.add_argument("--timeout", type=float, default=60.0, metavar="SECONDS")
    probe.add_argument("--out", required=True, metavar="JSON")
    probe.set_defaults(run=_probe_video)

    sample = commands.add_parser("sample-frames", help="decode a video once and keep some frames")
    sample.add_argument("--video", required=True, metavar="ID")
    sample.add_argument("--path", required=True, help="the video file")
    sample.add_argument("--probe", required=True, metavar="JSON", help="from probe-video")
    sample.add_argument("--view", required=True, choices=("video", "segments"))
    sample.add_argument("--frames", type=int, default=16, metavar="F")
    sample.add_argument("--segment-length", type=int, default=48, metavar="FRAMES")
    sample.add_argument("--size", type=int, nargs=2, default=(448, 448), metavar=("H", "W"))
    sample.add_argument("--threads", type=int, default=2, help="that decode and resize")
    sample.add_argument("--timeout", type=float, default=3600.0, metavar="SECONDS")
    sample.add_argument("--out", required=True, metavar="H5")
    sample.set_defaults(run=_sample_frames)


def _probe_video(arguments: argparse.Namespace) -> None:
    from hhvad.files import write_json
    from hhvad.video import probe

    info = probe(arguments.path, arguments.timeout)
    write_json(arguments.out, info.to_json(arguments.video))


def _sample_frames(arguments: argparse.Namespace) -> None:
    import numpy as np

    from hhvad import artifacts, sampling, video
    from hhvad.errors import ArtifactError, VideoError
    from hhvad.files import read_json

    probe = read_json(arguments.probe)
    try:
        known = {name: probe[name] for name in video.Probe.__dataclass_fields__}
        info = video.Probe(**known)
    except (KeyError, TypeError) as error:
        raise ArtifactError(f"{arguments.probe}: not a probe of hhvad; delete it, rerun") from error
    segments, indices = sampling.plan(
        info.frames, arguments.view, arguments.frames, arguments.segment_length
    )
    height, width = arguments.size
    provenance = {
        "video": arguments.video,
        "view": arguments.view,
        "frames": arguments.frames,
        "segment_length": arguments.segment_length,
        "size": [height, width],
        "resize": "bicubic-antialias",
        "fps": info.fps,
        "n_frames": info.frames,
        "decoder": info.decoder,
    }
    pictures = video.frames(
        arguments.path,
        info,
        indices.ravel().tolist(),
        threads=arguments.threads,
        timeout=arguments.timeout,
    )
    shape = (len(segments), arguments.frames, height, width, 3)
    with artifacts.create(arguments.out, "frames", provenance) as file:
        artifacts.add_dataset(file, "indices", indices)
        artifacts.add_dataset(file, "segments", segments)
        target = artifacts.add_dataset(file, "frames", shape=shape, dtype=np.uint8, compress=False)
        try:
            first = next(pictures)  # the child decodes while torch is imported
            from hhvad.mllm.resize import resize

            for row in range(len(segments)):
                batch = np.empty((arguments.frames, info.height, info.width, 3), np.uint8)
                for column in range(arguments.frames):
                    picture = first if row == column == 0 else next(pictures)
                    batch[column] = np.frombuffer(picture, np.uint8).reshape(batch.shape[1:])
                target[row] = resize(batch, (height, width), threads=arguments.threads)
        except StopIteration:
            raise VideoError(f"{arguments.path}: it ended before its last frame") from None
        finally:
            pictures.close()  # type: ignore[attr-defined]
