"""Damaged and lying video files: the file's own frames, or one line that names it.

H.264 carries no checksums: zeros inside a picture's data may decode, without any error, to another
picture. So a frame is held against two references: the number that it shows, where the data of the
pictures is whole, and a plain decode of the same damaged file in any case.
"""

from __future__ import annotations

import random
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import av
import h5py
import numpy as np
import pytest
from campaign import Tally
from numbered import read_number, write_numbered

from hhvad.cli import main

SIZE = (96, 128)
SECONDS = 20


def cuts(data: bytes, count: int) -> Iterator[tuple[str, bytes]]:
    for number in range(count):
        yield "truncated", data[: len(data) * number // count]


def zeroed(data: bytes, rng: random.Random, count: int) -> Iterator[tuple[str, bytes]]:
    for _ in range(count):
        at, size = rng.randrange(len(data)), rng.choice([16, 256, 2000])
        yield "zeroed block", data[:at] + bytes(len(data[at : at + size])) + data[at + size :]


def scrambled(data: bytes, rng: random.Random, count: int) -> Iterator[tuple[str, bytes]]:
    for _ in range(count):
        found = bytearray(data)
        for _ in range(8):
            found[rng.randrange(min(len(found), 400))] = rng.randrange(256)
        yield "header damage", bytes(found)


def lies(data: bytes) -> Iterator[tuple[str, bytes]]:
    """An MP4 whose boxes claim what is not so."""

    def box(name: bytes, offset: int, value: bytes) -> bytes:
        at = data.index(name) + 4 + offset
        return data[:at] + value + data[at + len(value) :]

    huge, none = struct.pack(">I", 0x7FFFFFFF), bytes(4)
    yield "wrong duration", box(b"mvhd", 16, huge)
    yield "wrong duration", box(b"mdhd", 16, huge)
    yield "wrong duration", box(b"mdhd", 16, none)
    yield "no frame rate", box(b"mdhd", 12, none)
    yield "no frame rate", box(b"stts", 4, none)
    yield "huge frame rate", box(b"mdhd", 12, huge)
    yield "huge dimensions", box(b"avc1", 24, struct.pack(">HH", 65535, 65535))
    yield "huge dimensions", box(b"tkhd", 76, huge + huge)
    yield "too many samples", box(b"stsz", 8, huge)
    yield "times run backwards", box(b"stts", 12, struct.pack(">i", -512))


def damaged(folder: Path, long: bool) -> list[tuple[str, str, bytes]]:
    """(suffix, kind, content) of every file to try; the same on every run."""
    rng = random.Random(8)
    found = []
    for suffix, options in ((".mp4", {"g": "12"}), (".mkv", {"g": "12"}), (".avi", {"bf": "0"})):
        data = write_numbered(folder / f"whole{suffix}", 90, options=options).read_bytes()
        tries = [*cuts(data, 20 if long else 4)]
        tries += zeroed(data, rng, 20 if long else 4)
        tries += scrambled(data, rng, 12 if long else 2)
        if suffix == ".mp4":
            tries += lies(data)
        found += [(suffix, kind, content) for kind, content in tries]
    return found


def sample(path: Path, capfd) -> tuple[int, str]:
    """probe-video, then sample-frames: the exit code and the last line of the first that failed."""
    probe, out = path.with_suffix(".json"), path.with_suffix(".h5")
    words = ["--video", "a", "--path", str(path), "--timeout", str(SECONDS)]
    code = main(["probe-video", *words, "--out", str(probe)])
    if code == 0:
        more = ["--probe", str(probe), "--view", "segments", "--threads", "1"]
        more += ["--frames-per-segment", "16", "--segment-length", "48", "--timeout", "60"]
        size = ["--size", *map(str, SIZE)]
        code = main(["sample-frames", *words, *more, *size, "--out", str(out)])
    return code, capfd.readouterr().err


def decoded(path: Path) -> list[np.ndarray]:
    """Every frame as PyAV shows it by itself."""
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def test_no_frame_that_is_not_from_the_file(tmp_path, capfd, long: bool, tally: Tally):
    wrong, survived = [], 0
    for number, (suffix, kind, content) in enumerate(damaged(tmp_path, long)):
        path = tmp_path / f"video-{number}{suffix}"
        path.write_bytes(content)
        start = time.monotonic()
        code, error = sample(path, capfd)
        assert time.monotonic() - start < 3 * SECONDS, (kind, number)
        tally.tried(f"video: {kind}")
        out = path.with_suffix(".h5")
        if code == 0:
            survived += 1
            with h5py.File(out) as file:
                pictures, indices = file["frames"][()], file["indices"][()]
            plain = decoded(path)
            for picture, index in zip(pictures.reshape(-1, *SIZE, 3), indices.flat, strict=True):
                if np.abs(picture.astype(int) - plain[index]).mean() > 2:
                    wrong.append((number, kind, suffix, int(index), "not the plain decoder's"))
                if kind == "zeroed block":
                    continue
                shown = read_number(picture)
                # A Matroska file that is cut within the last second lacks pictures between others.
                late = kind == "truncated" and suffix == ".mkv" and shown > index > 60
                if shown != index and not late:
                    wrong.append((number, kind, suffix, int(index), shown))
        else:
            assert code == 2, (kind, number, error)
            last = error.strip().splitlines()[-1]
            assert last.startswith("hhvad: error: "), (kind, number, error)
            assert path.name in last, (kind, number, error)
            assert "Traceback" not in error
            assert not out.exists()
    assert wrong == []
    assert survived > 0


def test_real_clips_cut_short(shared, tmp_path, capfd, long: bool, tally: Tally):
    for clip in sorted((shared / "clips").glob("*.mp4")):
        data = clip.read_bytes()
        for _, content in cuts(data, 20 if long else 2):
            path = tmp_path / clip.name
            path.write_bytes(content)
            code, error = sample(path, capfd)
            # The index of an MP4 is at one of its ends: without it, or without data, no frame.
            assert code == 2, error
            assert clip.name in error
            tally.tried("real clip truncated")


@pytest.mark.parametrize("claimed", [30000, 65535])
def test_claimed_dimensions_take_no_memory(tmp_path, capfd, claimed: int, tally: Tally):
    """A header of gigapixels in a file of kilobytes: the address space is limited, not eaten."""
    data = write_numbered(tmp_path / "whole.mp4", 30).read_bytes()
    at = data.index(b"avc1") + 28
    path = tmp_path / "huge.mp4"
    path.write_bytes(data[:at] + struct.pack(">HH", claimed, claimed) + data[at + 4 :])
    code, error = sample(path, capfd)
    assert code in (0, 2), error  # the stream itself says how large its pictures are
    tally.tried("video: huge dimensions")
