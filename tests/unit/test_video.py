"""Frames by their number, read from the picture itself, by each decoder; and bad files."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from numbered import mute, read_number, write_numbered

from hhvad.artifacts import hdf5 as artifacts
from hhvad.errors import VideoError
from hhvad.files import write_json
from hhvad.media import decode
from hhvad.media import probe as video
from hhvad.media.resize import cropping, with_numpy

RATES = [Fraction(24), Fraction(25), Fraction(30000, 1001), Fraction(30), Fraction(60)]
B_FRAMES = {"bf": "3", "b-pyramid": "normal", "g": "24"}
FAST = {"preset": "ultrafast"}
OPEN_GOP = {"bf": "2", "x264-params": "open-gop=1:keyint=12:min-keyint=12"}


def numbers(path: Path, info: video.Probe, indices, **options) -> list[int]:
    pictures = decode.pictures(str(path.absolute()), info, indices, **options)
    return [read_number(picture) for picture in pictures]


def sample(path: Path, info: video.Probe, out: Path, **options) -> None:
    given = {"video": "a", "view": "segments", "frames_per_segment": 16, "segment_length": 48}
    given |= {"size": (info.height, info.width), **options}
    video.sample_frames(path, info, out, **given)


def both(info: video.Probe) -> list[video.Probe]:
    """The probe with its own decoder, and with the other one where decord would do too."""
    return [info, replace(info, decoder="pyav")] if info.decoder == "decord" else [info]


@pytest.mark.parametrize("spans", [{}, {"spans": [[0, 9], [3, 9]], "picked": [[5], [3]]}])
def test_frames_can_be_cut_to_their_middle(tmp_path, spans):
    path = write_numbered(tmp_path / "a.mp4", 9)
    info = video.probe(path)
    view = "windows" if spans else "grid"
    how = {"view": view, "frames_per_segment": 1, "segment_length": 4, "size": (32, 32), **spans}
    sample(path, info, tmp_path / "cut.h5", fit="crop", **how)
    found = artifacts.read(tmp_path / "cut.h5", "frames")
    assert found.provenance["fit"] == "crop"
    wanted = list(decode.pictures(str(path), info, sorted(found["indices"].ravel().tolist())))
    cut = cropping(with_numpy)(np.stack(wanted), (32, 32))
    order = found["indices"].ravel().argsort()
    np.testing.assert_array_equal(found["frames"][order, 0], cut)
    sample(path, info, tmp_path / "all.h5", **how)
    assert "fit" not in artifacts.read(tmp_path / "all.h5", "frames").provenance


@pytest.mark.parametrize("rate", RATES, ids=lambda rate: f"{float(rate):.2f}fps")
def test_frame_rates(tmp_path, rate):
    path = write_numbered(tmp_path / "a.mp4", 50, rate)
    info = video.probe(path)
    assert info.fps_fraction == f"{rate.numerator}/{rate.denominator}"
    assert info.fps == pytest.approx(float(rate))
    assert (info.frames, info.height, info.width) == (50, 96, 128)
    assert info.duration == pytest.approx(50 / float(rate), abs=1e-3)
    assert info.decoder == "decord"
    for one in both(info):
        assert numbers(path, one, range(50)) == list(range(50))


@pytest.mark.parametrize("indices", [[0], [49], [24, 25, 47], [3, 3, 3, 48, 48], range(0, 50, 7)])
@pytest.mark.parametrize("options", [B_FRAMES, OPEN_GOP, {"bf": "0", "g": "1"}, {"bf": "0"}])
def test_single_frames_behind_any_group_of_pictures(tmp_path, options, indices):
    path = write_numbered(tmp_path / "a.mp4", 50, options=options)
    for one in both(video.probe(path)):
        assert numbers(path, one, indices) == list(indices)


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_threads_change_nothing(tmp_path, threads):
    path = write_numbered(tmp_path / "a.mp4", 90, options=B_FRAMES)
    for one in both(video.probe(path)):
        assert numbers(path, one, range(0, 90, 4), threads=threads) == list(range(0, 90, 4))


def test_variable_frame_rate_counts_frames_and_not_time(tmp_path):
    steps = np.random.default_rng(0).integers(3, 40, 60)
    path = write_numbered(tmp_path / "a.mp4", 60, ticks=np.cumsum(steps).tolist())
    info = video.probe(path)
    assert info.frames == 60
    mean = steps[1:].mean() / 300  # ticks of 1/300 s
    assert info.fps == pytest.approx(1 / mean, rel=0.01)
    for one in both(info):
        assert numbers(path, one, range(60)) == list(range(60))


@pytest.mark.parametrize("size", [(97, 131), (96, 131), (97, 128), (50, 400)])
def test_odd_sizes(tmp_path, size):
    path = write_numbered(tmp_path / "a.mp4", 12, size=size, pixels="yuv444p")
    info = video.probe(path)
    assert (info.height, info.width) == size
    for one in both(info):
        pictures = decode.pictures(str(path), one, range(12))
        found = [(picture.shape, read_number(picture)) for picture in pictures]
        assert found == [((*size, 3), n) for n in range(12)]


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_rotation_metadata_is_obeyed(tmp_path, turns):
    path = write_numbered(tmp_path / "a.mp4", 12, size=(96, 192), quarter_turns=turns)
    info = video.probe(path)
    assert (info.rotation, info.decoder) == (90 * turns, "pyav")
    assert (info.height, info.width) == (96, 192)
    assert numbers(path, info, range(12)) == list(range(12))


@pytest.mark.parametrize(
    ("name", "codec", "pixels", "decoders"),
    [
        ("a.mkv", "libx264", "yuv420p", {"decord"}),
        ("a.avi", "mpeg4", "yuv420p", {"pyav"}),
        ("a.mpg", "mpeg2video", "yuv420p", {"pyav"}),
        ("a.ts", "libx264", "yuv420p", {"pyav"}),
        ("a.webm", "libvpx-vp9", "yuv420p", {"decord", "pyav"}),
        ("a.mp4", "libsvtav1", "yuv420p", {"pyav"}),
        ("a.mp4", "libx265", "yuv420p", {"decord", "pyav"}),
        ("a.mp4", "libx265", "yuv420p10le", {"decord", "pyav"}),
        ("a.mkv", "mjpeg", "yuvj420p", {"decord", "pyav"}),
        ("a.mkv", "ffv1", "yuv420p", {"decord", "pyav"}),
    ],
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_containers_and_codecs(tmp_path, name, codec, pixels, decoders):
    options = {"x265-params": "log-level=none"} if codec == "libx265" else {}
    path = write_numbered(tmp_path / name, 40, 25, codec=codec, pixels=pixels, options=options)
    info = video.probe(path)
    assert info.frames == 40
    assert info.decoder in decoders
    for one in both(info):
        assert numbers(path, one, range(0, 40, 3)) == list(range(0, 40, 3))


def test_sound_changes_nothing(tmp_path):
    path = write_numbered(tmp_path / "a.mp4", 20, sound=True)
    assert numbers(path, video.probe(path), range(20)) == list(range(20))


def test_one_frame(tmp_path):
    path = write_numbered(tmp_path / "a.mp4", 1)
    info = video.probe(path)
    assert info.frames == 1
    assert numbers(path, info, [0, 0, 0]) == [0, 0, 0]


@pytest.mark.parametrize(
    "name",
    ["a b.mp4", "a'b\".mp4", "a;b$(touch x).mp4", "-i.mp4", "ü\n漢.mp4", "%03d.mp4", "*.mp4"],
)
def test_names_are_names(tmp_path, name, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_numbered(tmp_path / "plain.mp4", 8).rename(name)
    info = video.probe(name)
    sample(Path(name), info, Path("out/frames.h5"), frames_per_segment=2)
    frames = artifacts.read("out/frames.h5", "frames").arrays["frames"]
    assert [read_number(frame) for frame in frames[0]] == [2, 6]
    assert sorted(entry.name for entry in tmp_path.iterdir()) == sorted([name, "out"])


def test_the_fingerprint_tells_files_apart(tmp_path):
    path = write_numbered(tmp_path / "a.mp4", 8)
    info = video.probe(path)
    assert info.fingerprint == video.fingerprint(path)
    write_numbered(path, 9)
    with pytest.raises(VideoError, match="has changed since it was probed"):
        sample(path, info, tmp_path / "frames.h5")


def _empty(path):
    path.write_bytes(b"")


def _text(path):
    path.write_text("this is no video\n" * 100)


def _folder(path):
    path.mkdir()


def _fifo(path):
    os.mkfifo(path)


def _dangling(path):
    path.symlink_to("nowhere.mp4")


def _noise(path):
    path.write_bytes(np.random.default_rng(0).bytes(50_000))


def _playlist(path):
    write_numbered(path.with_name("other.mp4"), 4)
    path.write_text("ffconcat version 1.0\nfile other.mp4\n")


def _half(path):
    write_numbered(path, 60)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


def _half_mkv(path):
    write_numbered(path.with_suffix(".mkv"), 200).rename(path)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


def _sound_alone(path):
    import av

    with av.open(str(path), "w") as container:
        mute(container)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "cannot be opened: No such file"),
        (_empty, "the file is empty"),
        (_text, "is not a video that can be read"),
        (_folder, "is not a regular file"),
        (_fifo, "is not a regular file"),
        (_dangling, "cannot be opened: No such file"),
        (_noise, "is not a video that can be read"),
        (_playlist, "is not a video that can be read"),
        (_half, "is not a video that can be read"),
        (_half_mkv, "truncated|only .* of"),
        (_sound_alone, "there is no video stream in it"),
    ],
    ids=lambda value: getattr(value, "__name__", "").strip("_<>") or None,
)
def test_what_is_no_video_is_named(tmp_path, make, message):
    path = tmp_path / "a.mp4"
    make(path)
    with pytest.raises(VideoError, match=message) as caught:
        video.probe(path, timeout=20)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_damage_in_the_middle_gives_no_frame_behind_it(tmp_path):
    """What comes is right; then the error: nothing is filled in."""
    path = write_numbered(tmp_path / "a.mp4", 120, size=(192, 256), options={"g": "12"})
    info = video.probe(path)
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 600] = bytes(600)
    path.write_bytes(data)
    info = replace(info, fingerprint=video.fingerprint(path))
    for one in both(info):
        got = []
        with pytest.raises(VideoError, match="damaged"):
            got.extend(decode.pictures(str(path), one, range(120)))
        assert len(got) < 120


def test_a_probe_of_more_frames_is_refused(tmp_path):
    path = write_numbered(tmp_path / "a.mp4", 20)
    info = video.probe(path)
    for one in both(replace(info, frames=21)):
        with pytest.raises(VideoError, match="20"):
            numbers(path, one, [0, 20])


def test_time_limit_and_no_process_or_file_left(tmp_path):
    path = write_numbered(
        tmp_path / "a.mp4", 3000, size=(480, 640), options={"preset": "ultrafast"}
    )
    info, start = replace(video.probe(path), decoder="pyav"), time.monotonic()
    with pytest.raises(VideoError, match=r"not decoded in 0\.5 s"):
        sample(path, info, tmp_path / "frames.h5", timeout=0.5)
    assert time.monotonic() - start < 10
    assert not _children()
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.mp4"]


def test_a_decoder_that_dies_is_named_and_leaves_no_file(tmp_path):
    path = write_numbered(
        tmp_path / "a.mp4", 3000, size=(480, 640), options={"preset": "ultrafast"}
    )
    info, out = replace(video.probe(path), decoder="pyav"), tmp_path / "out/frames.h5"
    with ThreadPoolExecutor() as pool:
        sampling = pool.submit(sample, path, info, out)
        _wait_for(lambda: list(tmp_path.glob("out/.hhvad-*")))
        os.kill(_children()[0], signal.SIGKILL)
        with pytest.raises(VideoError, match=r"the decoder died of it \(status -9\)"):
            sampling.result()
    assert list(out.parent.iterdir()) == []


def test_where_decord_dies_pyav_tries(tmp_path):
    path = write_numbered(tmp_path / "a.mp4", 200, size=(480, 640), options={"preset": "ultrafast"})
    info, out = replace(video.probe(path), decoder="decord"), tmp_path / "frames.h5"
    with ThreadPoolExecutor() as pool:
        sampling = pool.submit(sample, path, info, out)
        os.kill(_wait_for(_children)[0], signal.SIGKILL)
        sampling.result()
    assert artifacts.read(out, "frames", ()).provenance["decoder"] == "pyav"


def test_without_decord_the_frames_are_the_same(tmp_path, monkeypatch):
    """As on Apple silicon: a folder in front of all others makes its import fail."""
    path = write_numbered(tmp_path / "a.mp4", 60)
    info = video.probe(path)
    assert info.decoder == "decord"
    sample(path, info, tmp_path / "with.h5")
    (tmp_path / "without").mkdir()
    (tmp_path / "without/decord.py").write_text("raise ImportError('no wheel')")
    paths = [str(tmp_path / "without"), *sys.path]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
    assert video.probe(path).decoder == "pyav"
    for name, probe in (("own", video.probe(path)), ("others", info)):
        sample(path, probe, tmp_path / f"{name}.h5")
        found, known = (artifacts.read(tmp_path / f"{n}.h5", "frames") for n in (name, "with"))
        assert found.provenance["decoder"] == "pyav"
        assert (found["frames"] == known["frames"]).all()


def test_the_decoder_ends_with_the_process_that_started_it(tmp_path):
    path = write_numbered(
        tmp_path / "a.mp4", 3000, size=(480, 640), options={"preset": "ultrafast"}
    )
    probe = tmp_path / "a.json"
    write_json(probe, video.probe(path).to_json("a"))
    command = [sys.executable, "-m", "hhvad", "sample-frames", "--video", "a", "--view", "segments"]
    command += ["--path", path, "--probe", probe, "--size", "480", "640", "--threads", "2"]
    command += ["--frames-per-segment", "16", "--segment-length", "48", "--timeout", "600"]
    with subprocess.Popen([*command, "--out", tmp_path / "frames.h5"]) as process:
        child = _wait_for(lambda: _children(process.pid))[0]
        process.kill()
    _wait_for(lambda: not Path(f"/proc/{child}").exists())


def _wait_for(what):
    end = time.monotonic() + 60
    while time.monotonic() < end:
        if found := what():
            return found
        time.sleep(0.01)
    raise AssertionError("nothing came in a minute")


def _children(pid: int | None = None) -> list[int]:
    """Process ids of a process's decoders, by itself of this one's."""
    listed = subprocess.run(
        ["ps", "--ppid", str(pid or os.getpid()), "-o", "pid=,args="],
        capture_output=True,
        text=True,
    )
    return [
        int(line.split()[0]) for line in listed.stdout.splitlines() if "hhvad.media.decode" in line
    ]


def test_memory_is_bounded(tmp_path):
    """Far more pictures than fit: they come one by one."""
    path = write_numbered(
        tmp_path / "a.mp4", 400, size=(720, 1280), options={"preset": "ultrafast"}
    )
    info, out, peak = video.probe(path), tmp_path / "frames.h5", 0
    with ThreadPoolExecutor() as pool:
        sampling = pool.submit(sample, path, info, out, frames_per_segment=48, size=(36, 64))
        while not sampling.done():
            for child in _children():
                with suppress(OSError, StopIteration):  # it is gone
                    peak = max(peak, _peak(child))
    sampling.result()
    assert artifacts.read(out, "frames").arrays["frames"].shape == (9, 48, 36, 64, 3)
    assert 0 < peak < 700 * 2**20  # the pictures together would be 1055 MiB


def test_the_decoder_may_not_allocate_more_than_its_limit():
    program = (
        "import numpy\n"
        "from hhvad.media import decode\n"
        "decode._limit(60)\n"
        "numpy.empty(decode.MAX_MEMORY // 2, numpy.uint8)\n"
        "numpy.empty(decode.MAX_MEMORY, numpy.uint8)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        error = process.stderr.read()
    assert error.splitlines()[-1].startswith("numpy._core._exceptions._ArrayMemoryError")
    assert "8.00 GiB" in error


def _peak(pid: int) -> int:
    """The most memory that a process has had resident, in bytes."""
    status = Path(f"/proc/{pid}/status").read_text()
    return 1024 * int(next(line for line in status.splitlines() if "VmHWM" in line).split()[1])


def test_robbery102(shared):
    """The real clip: frames of either decoder are alike, and the annotated part is inside."""
    path = shared / "clips/Robbery102_x264.mp4"
    info = video.probe(path)
    assert (info.frames, info.width, info.height, info.fps) == (1827, 1200, 800, 30.0)
    wanted = [0, 1080, 1560, 1826]
    found = []
    for decoder in ("decord", "pyav"):
        pictures = decode.pictures(str(path), replace(info, decoder=decoder), wanted, threads=2)
        found.append(np.stack(list(pictures)))
    assert np.abs(found[0].astype(int) - found[1]).mean() < 2


@pytest.mark.parametrize(
    ("difference", "count", "height", "same"),
    [(0, 9, 10, True), (1.99, 9, 10, True), (2, 9, 10, False), (0, 8, 10, False), (0, 9, 5, False)],
)
def test_decord_must_count_and_see_the_same(monkeypatch, difference, count, height, same):
    """A mean difference of two levels of colour is another picture."""
    first = np.full((10, 10, 3), 100, np.uint8)
    seen = first.copy()
    seen.reshape(-1)[: round(300 * difference / 4)] += 4  # so that the mean is the difference
    seen = seen[:height]

    class Reader:
        def __init__(self, path, num_threads):
            pass

        def __len__(self):
            return count

        def next(self):
            return SimpleNamespace(asnumpy=lambda: seen)

    logging = SimpleNamespace(set_level=lambda level: None, QUIET=0)
    monkeypatch.setitem(sys.modules, "decord", SimpleNamespace(VideoReader=Reader, logging=logging))
    monkeypatch.setattr(decode, "_decord_errors", lambda: (OSError,))
    assert decode._decord_agrees("v.mp4", 9, first) is same
