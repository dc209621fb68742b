"""Speed of sample-frames, against merely decoding the file and against the naive way.

    python benchmarks/frames.py [CLIP.mp4 ...] [--markdown benchmarks/frames.md]

For each clip and two demo scenes that are drawn first, the ways below are timed in turns, the best
of three each, with the same decoder and number of threads:

- decode: every frame of the file as RGB, once, in order, and nothing else done with it;
- sample: what rule sample_segments does after its start: decode in a process of its own, pick 16
  frames of every 48, resize (clips to 448 x 448, scenes to the demo's 56 x 56), write HDF5;
- naive: the video opened anew for every segment, its 16 frames sought one by one, Pillow's resize.

Start is the part of sample until the first picture is there: a process of its own keeps a broken
file from hanging or killing the job, and a file of seconds costs it as a long one does. Not in the
figures: the start of the job itself and the import of torch (about two seconds).
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import tempfile
import time
from pathlib import Path

import decord
import numpy as np
from PIL import Image

from hhvad import sampling, video
from hhvad.cli import main as hhvad
from hhvad.demo.encode import encode
from hhvad.demo.plan import scenes
from hhvad.files import write_json

COUNT, LENGTH = 16, 48


def decode(path, info, threads):
    """Every frame, in order, with the decoder that the probe names."""
    if info.decoder == "decord":
        reader = decord.VideoReader(str(path), num_threads=threads)
        for _ in range(info.frames):
            reader.next()
    else:
        import av

        with av.open(str(path)) as container:
            container.streams.video[0].codec_context.thread_count = threads
            for frame in container.decode(video=0):
                frame.to_ndarray(format="rgb24")


def sample(path, probe, threads, size, out):
    """The command, in this process."""
    words = ["sample-frames", "--video", "a", "--path", path, "--probe", probe, "--out", out]
    words += ["--view", "segments", "--threads", threads, "--size", *size]
    if hhvad([str(word) for word in words]):
        raise SystemExit(f"{path}: sample-frames failed")


def start(path, info, threads):
    """The decoding process until its first picture."""
    with video.frames(path, info, [0, info.frames - 1], threads=threads) as pictures:
        next(pictures)


def naive(path, info, threads, size):
    """A reader a segment, a seek a frame, Pillow."""
    frames = []
    for row in sampling.plan(info.frames, "segments", COUNT, LENGTH)[1]:
        reader = decord.VideoReader(str(path), num_threads=threads)
        for index in row:
            picture = Image.fromarray(reader[int(index)].asnumpy())
            frames.append(np.asarray(picture.resize(size[::-1], Image.Resampling.BICUBIC)))
    return frames


def seconds(task):
    start = time.perf_counter()
    task()
    return time.perf_counter() - start


def measure(path, folder, threads, size, rounds=3):
    """Best seconds of the three ways, taken in turns."""
    info = video.probe(path)
    probe, out = folder / "probe.json", folder / "frames.h5"
    write_json(probe, info.to_json("a"))
    ways = {
        "decode": lambda: decode(path, info, threads),
        "sample": lambda: sample(path, probe, threads, size, out),
        "start": lambda: start(path, info, threads),
        "naive": lambda: naive(path, info, threads, size),
    }
    ways["sample"]()  # torch is imported here
    best = dict.fromkeys(ways, float("inf"))
    for _ in range(rounds):
        for name, task in ways.items():
            best[name] = min(best[name], seconds(task))
    return info, best


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clips", nargs="*", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--markdown", type=Path)
    arguments = parser.parse_args()
    decord.logging.set_level(decord.logging.QUIET)
    lines = [
        "| clip | frames | size | decoder | decode, s | sample, s | of it start, s | naive, s "
        "| sample / decode | naive / sample |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    with tempfile.TemporaryDirectory() as name:
        folder, clips = Path(name), [(clip, (448, 448)) for clip in arguments.clips]
        tests = [(key, scene) for key, (split, scene) in scenes(101).items() if split == "test"]
        for key, scene in (tests[0], tests[-1]):
            encode(scene, folder / f"{key}.mp4")
            clips.append((folder / f"{key}.mp4", (56, 56)))
        for clip, size in clips:
            info, best = measure(clip, folder, arguments.threads, size)
            lines.append(
                f"| {clip.name} | {info.frames} | {info.width}x{info.height} | {info.decoder} "
                f"| {best['decode']:.2f} | {best['sample']:.2f} "
                f"| {best['start']:.2f} | {best['naive']:.2f} "
                f"| {best['sample'] / best['decode']:.2f} "
                f"| {best['naive'] / best['sample']:.1f} |"
            )
            print(lines[-1], flush=True)
    head = (
        f"{datetime.date.today()}, {platform.machine()}, {os.cpu_count()} cores, "
        f"{arguments.threads} decoder threads; best of three, in turns."
    )
    text = "\n".join([head, "", *lines, ""])
    print(text)
    if arguments.markdown:
        arguments.markdown.write_text(text)


if __name__ == "__main__":
    main()
