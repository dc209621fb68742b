"""Speed of sample-frames, against merely decoding the file and against the naive way.

    python benchmarks/frames.py [CLIP.mp4 ...] [--markdown benchmarks/frames.md]

For each clip and each test scene of the demo, drawn first, the ways below are timed in turns, the
best of three each, with the same decoder and number of threads:

- decode: every frame of the file as RGB, once, in order, and nothing else done with it;
- sample: what rule sample_segments does once its libraries are loaded: pick 16 frames of every 48,
  resize (clips to 448 x 448, scenes to the demo's 56 x 56), write HDF5 with its checksum;
- naive: the video opened anew for every segment, its 16 frames sought one by one, Pillow's resize.

Beside them stands the whole job, a command in a process of its own: two starts of Python and the
import of torch, which takes more than the work on a short file.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import decord
import numpy as np
import torch
from PIL import Image

from hhvad.demo.encode import encode
from hhvad.demo.plan import scenes
from hhvad.files import write_json
from hhvad.media import decode as decoding
from hhvad.media import probe as video
from hhvad.media import samplers as sampling

COUNT, LENGTH = 16, 48
SEED = 101
WAYS = ("decode", "sample", "naive", "job")


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


def sample(path, info, threads, size, out):
    """What the command's child does."""
    file = str(path.absolute())
    decoding.sample(file, info, str(out), "a", "segments", COUNT, LENGTH, size, threads)


def job(path, probe, threads, size, out):
    """The command."""
    words = ["sample-frames", "--video", "a", "--path", path, "--probe", probe, "--out", out]
    words += ["--view", "segments", "--frames-per-segment", COUNT, "--segment-length", LENGTH]
    words += ["--threads", threads, "--timeout", 600, "--size", *size]
    command = [sys.executable, "-m", "hhvad", *(str(word) for word in words)]
    subprocess.run(command, check=True)


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
    """Best seconds of each way, taken in turns."""
    info = video.probe(path)
    probe, out = folder / "probe.json", folder / "frames.h5"
    write_json(probe, info.to_json("a"))
    ways = {
        "decode": lambda: decode(path, info, threads),
        "sample": lambda: sample(path, info, threads, size, out),
        "naive": lambda: naive(path, info, threads, size),
        "job": lambda: job(path, probe, threads, size, out),
    }
    ways["sample"]()  # its libraries are loaded here
    best = dict.fromkeys(ways, float("inf"))
    for _ in range(rounds):
        for name, task in ways.items():
            best[name] = min(best[name], seconds(task))
    return info, best


def figures(best):
    """The columns of a row."""
    decode, sample, naive, job = (best[way] for way in WAYS)
    return (
        f"{decode:.2f} | {sample:.2f} | {naive:.2f} "
        f"| {sample / decode:.2f} | {naive / sample:.1f} | {job:.1f}"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clips", nargs="*", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--markdown", type=Path)
    arguments = parser.parse_args()
    decord.logging.set_level(decord.logging.QUIET)
    torch.set_num_threads(1)  # as in the job
    lines = [
        "| clip | frames | size | decoder | decode, s | sample, s | naive, s "
        "| sample / decode | naive / sample | the whole job, s |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    with tempfile.TemporaryDirectory() as name:
        folder, clips = Path(name), [(clip, (448, 448)) for clip in arguments.clips]
        for key, (split, scene) in scenes(SEED).items():
            if split == "test":
                encode(scene, folder / f"{key}.mp4")
                clips.append((folder / f"{key}.mp4", (56, 56)))
        total, count = dict.fromkeys(WAYS, 0.0), 0
        for clip, size in clips:
            info, best = measure(clip, folder, arguments.threads, size)
            about = f"{info.frames} | {info.width}x{info.height} | {info.decoder}"
            lines.append(f"| {clip.name} | {about} | {figures(best)} |")
            print(lines[-1], flush=True)
            if clip.parent == folder:
                total, count = {way: total[way] + best[way] for way in WAYS}, count + 1
        lines.append(f"| the {count} demo scenes together | | | | {figures(total)} |")
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
