"""Files as cameras, recorders and tools make them: their frames, and when these are.

Each is built here from numbered frames, so that what is right follows from its construction.
"""

from __future__ import annotations

import struct
import subprocess
from fractions import Fraction
from pathlib import Path
from shutil import which

import av
import numpy as np
import pytest
from numbered import numbered_picture, read_number, write_numbered

from hhvad.errors import VideoError
from hhvad.media import decode
from hhvad.media import probe as video

B_FRAMES = {"bf": "2", "g": "12"}


def numbers(path: Path, info: video.Probe) -> list[int]:
    """What all the frames show."""
    return [read_number(p) for p in decode.pictures(str(path), info, range(info.frames))]


def seconds(info: video.Probe) -> list[float]:
    return info.times.all_seconds(range(info.frames)).tolist()


# --- times ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts", "a.mov"])
@pytest.mark.parametrize("options", [{"bf": "0"}, B_FRAMES], ids=["", "b-frames"])
def test_a_rate_that_falls(tmp_path, name, options):
    """2 s at 30 frames a second, then 4 s at 3, as recorders do when nothing moves."""
    ticks = [*range(0, 600, 10), *range(600, 1800, 100)]
    path = write_numbered(tmp_path / name, 72, 30, ticks=ticks, options=options)
    info = video.probe(path)
    assert info.frames == 72
    assert seconds(info) == pytest.approx([tick / 300 for tick in ticks], abs=0.0011)
    assert [info.frame(s) for s in (1, 2, 3, 4, 6)] == [30, 60, 63, 66, 72]
    assert info.times.gaps == ()
    assert numbers(path, info) == list(range(72))


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts"])
def test_a_pause_is_a_gap(tmp_path, name):
    ticks = [*range(0, 300, 10), *range(3000, 3300, 10)]
    path = write_numbered(tmp_path / name, 60, 30, ticks=ticks, options={"bf": "0"})
    info = video.probe(path)
    (gap,) = info.times.gaps
    assert (gap.frame, gap.start, gap.end) == pytest.approx((30, 1, 10), abs=0.002)
    assert info.fps == 30
    assert info.seconds(60) == pytest.approx(11, abs=0.002)


@pytest.mark.parametrize("suffix", [".ts", ".mpg"])
@pytest.mark.parametrize("counts", [(40, 40), (40, 17, 25), (31, 50)])
def test_recordings_appended_to_each_other(tmp_path, suffix, counts):
    codec = "mpeg2video" if suffix == ".mpg" else "libx264"
    parts = [
        write_numbered(tmp_path / f"{i}{suffix}", count, 25, codec=codec, options=B_FRAMES)
        for i, count in enumerate(counts)
    ]
    path = tmp_path / f"all{suffix}"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    info = video.probe(path)
    total = sum(counts)
    assert (info.frames, info.fps) == (total, 25)
    # MPEG program streams have no time for each picture: that of a part's last is a guess.
    wanted = [n / 25 for n in range(total)]
    assert seconds(info) == pytest.approx(wanted, abs=0.09 if suffix == ".mpg" else 1e-3)
    assert numbers(path, info) == [n for count in counts for n in range(count)]


@pytest.mark.parametrize("name", ["a.mkv", "a.mp4", "a.ts"])
def test_the_picture_starts_after_the_sound(tmp_path, name):
    ticks = [600 + 10 * n for n in range(30)]
    path = write_numbered(tmp_path / name, 30, 30, ticks=ticks, sound=True, options={"bf": "0"})
    info = video.probe(path)
    assert seconds(info) == pytest.approx([2 + n / 30 for n in range(30)], abs=0.07)
    assert info.frame(2.5) == pytest.approx(15, abs=2)
    assert numbers(path, info) == list(range(30))


@pytest.mark.parametrize(
    ("name", "first"),
    [("a.mkv", -900), ("a.mkv", 90_000), ("a.ts", -900), ("a.ts", 90_000), ("a.mp4", 90_000)],
)
def test_a_clock_that_starts_elsewhere_without_sound_is_no_late_start(tmp_path, name, first):
    ticks = [first + 10 * n for n in range(20)]
    path = write_numbered(tmp_path / name, 20, 30, ticks=ticks, options={"bf": "0"})
    info = video.probe(path)
    assert seconds(info) == pytest.approx([n / 30 for n in range(20)], abs=1e-3)


@pytest.mark.parametrize("claimed", ["00:01:00.000000000", "09:59:59.999999999"])
@pytest.mark.parametrize("options", [{"bf": "0"}, B_FRAMES], ids=["", "b-frames"])
def test_a_stale_duration_tag_is_not_believed(tmp_path, claimed, options):
    path = write_numbered(tmp_path / "a.mkv", 50, 25, options=options)
    data = path.read_bytes()
    assert b"00:00:02.000000000" in data
    path.write_bytes(data.replace(b"00:00:02.000000000", claimed.encode()))
    info = video.probe(path)
    assert (info.frames, info.duration) == (50, 2)


@pytest.mark.parametrize("name", ["a.h264", "a.h265", "a.avi"])
def test_files_without_times_have_the_rate_of_the_codec(tmp_path, name):
    codec = "libx265" if name == "a.h265" else "libx264"
    options = {"x265-params": "log-level=none"} if name == "a.h265" else B_FRAMES
    path = write_numbered(tmp_path / name, 40, 30, codec=codec, options=options)
    info = video.probe(path)
    assert (info.frames, info.fps, info.duration) == (40, 30, pytest.approx(40 / 30))
    assert numbers(path, info) == list(range(40))


@pytest.mark.parametrize(
    ("given", "known"),
    [
        ("2026-11-25T14:00:00.000000Z", "2026-11-25T14:00:00+00:00"),
        ("2026-11-25T14:00:00+02:00", "2026-11-25T12:00:00+00:00"),
        ("1904-01-01T00:00:00Z", None),
        ("", None),
    ],
)
def test_the_creation_time_is_the_start(tmp_path, given, known):
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        if given:
            container.metadata["creation_time"] = given
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height = 128, 96
        for number in range(5):
            frame = av.VideoFrame.from_ndarray(numbered_picture(number, 96, 128), "rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    assert video.probe(path).started == known


# --- edit lists -----------------------------------------------------------------------------------


def edit(path: Path, entries: list[tuple[int, int]]) -> None:
    """Give an MP4 of one track, its moov at the end, an edit list.

    entries: duration in units of the movie (ms), and first time in units of the track; -1: nothing.
    """
    data = path.read_bytes()
    at = data.index(b"elst") - 4
    size = int.from_bytes(data[at : at + 4])
    body = b"".join(struct.pack(">iiI", length, start, 1 << 16) for length, start in entries)
    box = struct.pack(">I4sII", 16 + len(body), b"elst", 0, len(entries)) + body
    data = bytearray(data[:at] + box + data[at + size :])
    for name in (b"moov", b"trak", b"edts"):
        start = data.index(name) - 4
        grown = int.from_bytes(data[start : start + 4]) + len(box) - size
        data[start : start + 4] = grown.to_bytes(4)
    path.write_bytes(data)


@pytest.mark.parametrize("options", [{"bf": "0", "g": "10"}, {"bf": "2", "g": "10"}, {"g": "90"}])
@pytest.mark.parametrize(
    "shown",
    [[(0, 45)], [(30, 90)], [(20, 50)], [(0, 30), (60, 90)], [(7, 22), (33, 47), (70, 90)]],
    ids=str,
)
def test_the_frames_of_an_edit_list_are_those_shown(tmp_path, options, shown):
    path = write_numbered(tmp_path / "a.mp4", 90, 30, options=options)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frame = int(1 / (30 * stream.time_base))
    data = path.read_bytes()
    first = struct.unpack(">i", data[data.index(b"elst") + 16 :][:4])[0]
    edit(path, [((b - a) * 1000 // 30, first + a * frame) for a, b in shown])
    info = video.probe(path)
    wanted = [n for a, b in shown for n in range(a, b)]
    assert numbers(path, info) == wanted
    assert info.frames == len(wanted)
    # Where a part starts between B-frames, ffmpeg shows its first frame up to 3 frames late.
    late = 0.04 + 0.1 * (len(shown) - 1)
    assert seconds(info) == pytest.approx([n / 30 for n in range(len(wanted))], abs=late)


@pytest.mark.parametrize("keep", [0.5, 0.8, 0.95])
def test_a_truncated_file_with_an_edit_list_is_truncated(tmp_path, keep):
    """Its index comes first, and its data is cut."""
    path = write_numbered(tmp_path / "a.mp4", 90, 30)
    edit(path, [(1000, 0)])
    whole = tmp_path / "whole.mp4"
    with (
        av.open(str(path)) as source,
        av.open(str(whole), "w", options={"movflags": "faststart"}) as target,
    ):
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    data = whole.read_bytes()
    whole.write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(VideoError, match=r"truncated|damaged"):
        video.probe(whole)


# --- orientation ----------------------------------------------------------------------------------


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("name", ["a.mp4", "a.mov"])
def test_the_whole_display_matrix_is_obeyed(tmp_path, turns, mirrored, name):
    path = write_numbered(
        tmp_path / name, 12, size=(96, 192), quarter_turns=turns, mirrored=mirrored
    )
    info = video.probe(path)
    assert (info.rotation, info.mirrored) == (90 * turns, mirrored)
    assert (info.height, info.width) == (96, 192)
    assert numbers(path, info) == list(range(12))
    pictures = decode.pictures(str(path), info, [5])
    difference = np.abs(next(pictures).astype(int) - numbered_picture(5, 96, 192))
    assert difference.mean() < 8


@pytest.mark.parametrize("aspect", [Fraction(4, 3), Fraction(8, 9), Fraction(2)])
@pytest.mark.parametrize("turns", [0, 1])
def test_the_pixel_aspect_is_known_and_no_frame_depends_on_it(tmp_path, aspect, turns):
    square = write_numbered(tmp_path / "b.mp4", 12, quarter_turns=turns)
    path = write_numbered(tmp_path / "a.mp4", 12, quarter_turns=turns, pixel_aspect=aspect)
    info = video.probe(path)
    assert Fraction(info.pixel_aspect) == (1 / aspect if turns else aspect)
    assert (info.height, info.width) == (96, 128)
    ours, theirs = (
        np.stack(list(decode.pictures(str(p), video.probe(p), range(12)))) for p in (path, square)
    )
    assert np.array_equal(ours, theirs)


# --- damage ---------------------------------------------------------------------------------------


def lose_packet(path: Path, share: float) -> None:
    """Take one transport-stream packet out of the file, the first of a picture or another."""
    data = path.read_bytes()
    packets = [data[i : i + 188] for i in range(0, len(data), 188)]
    ids = [int.from_bytes(packet[1:3]) & 0x1FFF for packet in packets]
    picture = [n for n, pid in enumerate(ids) if pid == 0x100]
    lost = picture[int(len(picture) * share)]
    path.write_bytes(b"".join(packets[:lost] + packets[lost + 1 :]))


@pytest.mark.parametrize("codec", ["libx264", "libx265", "mpeg2video"])
@pytest.mark.parametrize("share", [0.1, 0.35, 0.5, 0.65, 0.9])
def test_a_lost_packet_of_a_transport_stream_is_damage(tmp_path, codec, share):
    options = {"x265-params": "log-level=none"} if codec == "libx265" else B_FRAMES
    path = write_numbered(tmp_path / "a.ts", 60, 25, size=(288, 384), codec=codec, options=options)
    assert video.probe(path).frames == 60
    lose_packet(path, share)
    with pytest.raises(VideoError, match=r"a\.ts: .*damaged"):
        video.probe(path)


# --- pictures in a row ----------------------------------------------------------------------------


@pytest.mark.parametrize("count", [2, 3, 25])
def test_raw_motion_jpeg(tmp_path, count):
    path = write_numbered(tmp_path / "a.mjpeg", count, 25, codec="mjpeg", pixels="yuvj420p")
    info = video.probe(path)
    assert (info.frames, info.codec) == (count, "mjpeg")
    assert numbers(path, info) == list(range(count))


@pytest.mark.parametrize("ticks", [range(0, 120, 10), [0, 10, 20, 120, 220], [0]])
def test_gif(tmp_path, ticks):
    path = write_numbered(
        tmp_path / "a.gif", len(ticks), 10, codec="gif", pixels="rgb8", ticks=ticks
    )
    info = video.probe(path)
    assert (info.frames, info.codec) == (len(ticks), "gif")
    assert seconds(info) == pytest.approx([tick / 100 for tick in ticks], abs=0.011)
    assert numbers(path, info) == list(range(len(ticks)))


@pytest.mark.skipif(which("ffmpeg") is None, reason="PyAV writes no Theora; ffmpeg is absent")
@pytest.mark.parametrize("ticks", [[0, 30, 40, 80], [0, 10, 70, 80, 100], [0, 50, 100]])
def test_ogg_packets_that_lengthen_a_frame(tmp_path, ticks):
    """Theora writes a picture that is the one before as a packet without content."""
    source, path = tmp_path / "a.mkv", tmp_path / "a.ogv"
    write_numbered(source, len(ticks), 25, ticks=ticks)
    words = ["-c:v", "libtheora", "-q:v", "9", "-r", "25", "-g", "100"]
    subprocess.run(["ffmpeg", "-v", "error", "-i", source, *words, path], check=True)
    with av.open(str(path)) as container:
        packets = [(p.pts, p.size) for p in container.demux(video=0) if p.dts is not None]
    assert any(not size for _, size in packets)
    info = video.probe(path)
    assert numbers(path, info) == list(range(len(ticks)))
    assert seconds(info) == pytest.approx([pts / 25 for pts, size in packets if size])
    # ffmpeg rounds to the new rate as it likes.
    assert seconds(info) == pytest.approx([tick / 250 for tick in ticks], abs=0.041)


# --- the files of the public reports -------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "frames", "fps", "duration"),
    [
        ("el_end.mp4", 45, 30, 1.5),
        ("el_ss.mp4", 32, 30, None),
        ("vfr.mp4", 330, None, 20),
        ("vfr.mkv", 330, None, 20),
        ("cat.ts", 250, 25, 10),
        ("cat.mpg", 250, 25, 10),
        ("cam.dav", 125, 25, 5),
        ("dur.ogv", 150, 30, 5),
        ("more/gbk.avi", 150, 30, 5),
        ("more/gbk.mkv", 150, 30, 5),
        ("more/h264.h264", 150, 30, 5),
        ("more/x.h265", 150, 30, 5),
        ("more/two.mp4", 2, 25, 0.08),
        ("more/neg.ts", 150, 30, 5),
        ("more/late.mkv", 150, 30, 5),
        ("more/dual.mp4", 150, 30, 5),
        ("more/rotlong.mp4", 60, 30, 2),
    ],
)
def test_reported_files(shared, name, frames, fps, duration):
    path = shared / "data/videos" / name
    path = path if path.exists() else shared / "videos" / name
    info = video.probe(path)
    assert info.frames == frames
    assert fps is None or info.fps == fps
    assert duration is None or info.duration == pytest.approx(duration, abs=0.002)
    if name.startswith("vfr"):
        assert (info.frame(15), info.frame(18)) == (315, 324)
    taken = len(list(decode.pictures(str(path), info, range(frames))))
    assert taken == frames
