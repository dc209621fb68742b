"""Scenes as real H.264 files, frame by frame."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av

from hhvad.demo.scenes import Scene, render
from hhvad.files import atomic_path


def encode(scene: Scene, path: str | Path) -> None:
    """Write a scene as mp4: exactly its frames, at its frame rate, the same bytes every time."""
    rate = Fraction(scene.fps).limit_denominator(1001)
    with atomic_path(path) as partial, av.open(str(partial), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=rate)
        stream.width, stream.height = scene.width, scene.height
        stream.pix_fmt = "yuv420p"
        stream.codec_context.thread_count = 1
        # With macroblock trees libx264 writes one of several files, as its memory happens to lie.
        stream.options = {
            "preset": "veryfast", "crf": "23", "threads": "1", "x264-params": "mbtree=0",
        }  # fmt: skip
        for picture in render(scene):
            for packet in stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
