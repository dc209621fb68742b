"""Videos whose frames show their number, as sixteen black or white blocks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

BITS = 16


def numbered_picture(number: int, height: int, width: int) -> np.ndarray:
    """uint8 [height, width, 3]: bit b of the number is column b; the lower third is grey."""
    picture = np.full((height, width, 3), 128, np.uint8)
    edges = np.linspace(0, width, BITS + 1).astype(int)
    for bit in range(BITS):
        picture[: height * 2 // 3, edges[bit] : edges[bit + 1]] = 255 * (number >> bit & 1)
    return picture


def read_number(picture: np.ndarray) -> int:
    """The number that an upright picture shows; an error where it shows none."""
    height, width = picture.shape[:2]
    edges = np.linspace(0, width, BITS + 1).astype(int)
    number = 0
    for bit in range(BITS):
        left, right = edges[bit], edges[bit + 1]
        inset = (right - left) // 4
        block = picture[height // 6 : height // 2, left + inset : right - inset]
        level = float(block.mean())
        assert level < 64 or level > 192, f"block {bit} is neither black nor white: {level}"
        number |= int(level > 128) << bit
    assert 64 < picture[height * 5 // 6 :].mean() < 192, "the grey is not at the bottom"
    return number


def write_numbered(
    path: Path,
    count: int = 40,
    rate: Fraction | int = 30,
    *,
    size: tuple[int, int] = (96, 128),
    codec: str = "libx264",
    pixels: str = "yuv420p",
    options: dict[str, str] | None = None,
    ticks: Iterable[int] | None = None,
    quarter_turns: int = 0,
    mirrored: bool = False,
    pixel_aspect: Fraction | None = None,
    sound: bool = False,
) -> Path:
    """Write `count` numbered frames of (height, width) when upright.

    ticks: their times in units of 1/(10 rate).  quarter_turns: how often the stored pictures are to
    be turned clockwise, and mirrored: left to right after that, as an MP4's display matrix says.
    pixel_aspect: width to height of a stored pixel.
    """
    height, width = size[::-1] if quarter_turns % 2 else size
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate)
        stream.width, stream.height, stream.pix_fmt = width, height, pixels
        unit = 1 / (Fraction(rate) * (10 if ticks else 1))
        stream.codec_context.time_base = unit
        stream.options = options or {}
        if pixel_aspect:
            stream.codec_context.sample_aspect_ratio = pixel_aspect
        if sound:
            mute(container)
        for number, tick in enumerate(ticks or range(count)):
            upright = numbered_picture(number, *size)
            picture = np.rot90(upright[:, ::-1] if mirrored else upright, quarter_turns)
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), "rgb24")
            frame.pts, frame.time_base = tick, unit
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    if quarter_turns or mirrored:
        a, b, c, d = [(1, 0, 0, 1), (0, 1, -1, 0), (-1, 0, 0, -1), (0, -1, 1, 0)][quarter_turns]
        _turn(path, (-a, b, -c, d) if mirrored else (a, b, c, d))
    return path


def mute(container: av.container.OutputContainer) -> None:
    """Add a track of silent sound."""
    audio = container.add_stream("aac", rate=16000)
    frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
    frame.sample_rate = 16000
    container.mux(audio.encode(frame))
    container.mux(audio.encode())


def _turn(path: Path, matrix: Sequence[int]) -> None:
    """Set the display matrix (a, b, c, d of ISO 14496-12, tkhd) of an MP4's only track."""
    data = bytearray(path.read_bytes())
    start = data.index(b"tkhd") + 4 + 40  # version, flags, times, id, duration, layer, volume
    a, b, c, d = (int(value * 65536).to_bytes(4, "big", signed=True) for value in matrix)
    zero = bytes(4)
    data[start : start + 36] = a + b + zero + c + d + zero + zero + zero + (1 << 30).to_bytes(4)
    path.write_bytes(data)
