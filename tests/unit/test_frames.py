"""Frames that a file leaves out: the same as those of a file that keeps all of them."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import av
import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hhvad.artifacts import probe as probes
from hhvad.cli import main
from hhvad.errors import ArtifactError, VideoError
from hhvad.files import write_json
from hhvad.media.frames import Changed, InOrder, Rest, open_frames
from hhvad.media.probe import probe, sample_frames

SEGMENTS = 9  # of 8 frames, the last of 4


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("video") / "v.mp4"
    random = np.random.default_rng(0)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for _ in range(8 * SEGMENTS - 4):
            picture = random.integers(0, 256, (48, 64, 3), dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        container.mux(stream.encode())
    write_json(path.with_suffix(".json"), probe(path).to_json("v"))
    return path


def sample(video: Path, out: Path, keep_mb: int | None = None, decoder: str = "", **other) -> Path:
    info = probes.read(video.with_suffix(".json"))
    given = {"view": "segments", "frames_per_segment": 4, "segment_length": 8, **other}
    sample_frames(
        video,
        replace(info, decoder=decoder or info.decoder),
        out,
        video="v",
        size=(512, 640),
        keep_mb=keep_mb,
        **given,
    )
    return out


def rest(video: Path, **other) -> Rest:
    given = {"path": str(video), "probe": str(video.with_suffix(".json"))}
    return Rest(**{**given, "threads": 1, "timeout": 60.0, **other})


@pytest.mark.parametrize("view", ["segments", "grid"])
@pytest.mark.parametrize("fit", ["stretch", "crop"])
@pytest.mark.parametrize("mask", [(), (((0.1, 0.1), (0.6, 0.1), (0.6, 0.9)),)])
def test_what_is_left_out_is_decoded_as_it_would_have_been_kept(
    view: str, fit: str, mask, video: Path, tmp_path: Path
):
    how = {"view": view, "fit": fit, "mask": mask}
    if view == "grid":
        how["frames_per_segment"] = 1
    whole = sample(video, tmp_path / "whole.h5", **how)
    some = sample(video, tmp_path / "some.h5", keep_mb=4, **how)
    kept = 4 * 2**20 // (how.get("frames_per_segment", 4) * 512 * 640 * 3)
    with h5py.File(some) as file:
        assert len(file["frames"]) == kept < SEGMENTS
        assert len(file["segments"]) == len(file["indices"]) == SEGMENTS
    with open_frames(str(whole), None) as all_, open_frames(str(some), asdict(rest(video))) as part:
        assert part.shape == all_.shape
        assert part.dtype == np.uint8
        for start in range(0, SEGMENTS, 2):
            assert (part[start : start + 2] == all_[start : start + 2]).all()


def test_at_least_one_segment_is_kept(video: Path, tmp_path: Path):
    with h5py.File(sample(video, tmp_path / "f.h5", keep_mb=1)) as file:
        assert len(file["frames"]) == 1


def test_a_file_that_keeps_all_is_the_same_with_a_limit(video: Path, tmp_path: Path):
    one = sample(video, tmp_path / "a.h5").read_bytes()
    assert sample(video, tmp_path / "b.h5", keep_mb=1000).read_bytes() == one


def test_without_the_video_it_is_refused(video: Path, tmp_path: Path):
    some = sample(video, tmp_path / "some.h5", keep_mb=1)
    with (
        pytest.raises(ArtifactError, match="keeps 1 segments alone; the others need the video"),
        open_frames(str(some), None) as frames,
    ):
        frames[0:2]


def test_another_video_is_refused(video: Path, tmp_path: Path):
    some = sample(video, tmp_path / "some.h5", keep_mb=1)
    info = replace(probes.read(video.with_suffix(".json")), fingerprint="0" * 16)
    write_json(tmp_path / "other.json", info.to_json("v"))
    with (
        pytest.raises(ArtifactError, match="is not of the video of"),
        open_frames(str(some), rest(video, probe=str(tmp_path / "other.json"))) as frames,
    ):
        frames[0:2]


def test_a_video_that_is_gone_is_named(video: Path, tmp_path: Path):
    some = sample(video, tmp_path / "some.h5", keep_mb=1)
    with (
        pytest.raises(VideoError, match=r"gone\.mp4: cannot be opened"),
        open_frames(str(some), rest(video, path=str(tmp_path / "gone.mp4"))) as frames,
    ):
        frames[0:2]


def test_errors_of_the_reader_are_its_own(video: Path, tmp_path: Path):
    some = sample(video, tmp_path / "some.h5", keep_mb=1)
    with pytest.raises(RuntimeError, match="out of memory"), open_frames(str(some), rest(video)):
        raise RuntimeError("out of memory")


def test_a_slow_reader_is_waited_for(video: Path, tmp_path: Path, monkeypatch):
    """The limit is that of the decoder, not that of the model that looks at what it gives."""
    import time

    some = sample(video, tmp_path / "some.h5", keep_mb=1)
    with open_frames(str(some), rest(video, timeout=2.0)) as frames:
        frames[0:2]
        time.sleep(3)
        assert frames[2:SEGMENTS].shape[0] == SEGMENTS - 2


def test_a_decoder_that_hangs_is_ended(video: Path, tmp_path: Path, monkeypatch):
    some = sample(video, tmp_path / "some.h5", keep_mb=1)
    with (
        pytest.raises(VideoError, match=r"not decoded in 0\.01 s"),
        open_frames(str(some), rest(video, timeout=0.01)) as frames,
    ):
        frames[0:2]


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_batches_that_shrink_read_every_segment(data: st.DataObject):
    """As the engine reads: a batch, the next one ahead, and the same again where memory ran out."""
    total = data.draw(st.integers(1, 30))
    kept = data.draw(st.integers(0, total))
    everything = np.arange(total * 6, dtype=np.uint8).reshape(total, 1, 1, 2, 3)
    frames = InOrder(everything[:kept], iter(everything[kept:]), total)
    size, start = data.draw(st.integers(1, 12)), 0
    while start < total:
        stop = min(start + size, total)
        assert (frames[start:stop] == everything[start:stop]).all()
        following = min(stop + size, total)
        if following > stop:
            assert (frames[stop:following] == everything[stop:following]).all()
        if size > 1 and data.draw(st.booleans()):
            size //= 2
            continue
        start = stop
    assert total - frames._first <= 2 * 12  # no more is held than two batches


def test_one_by_one():
    everything = np.arange(12, dtype=np.uint8).reshape(4, 1, 1, 1, 3)
    frames = InOrder(everything[:1], iter(everything[1:]), 4)
    assert [one.tolist() for one in frames] == everything.tolist()


def test_changed_frames():
    everything = np.arange(12, dtype=np.uint8).reshape(4, 1, 1, 1, 3)
    twice = Changed(everything, (4, 2, 1, 1, 3), lambda some: np.repeat(some, 2, axis=1))
    assert len(twice) == 4
    assert twice[1:3].shape == (2, 2, 1, 1, 3)


def test_the_command_needs_a_probe_with_the_video(video: Path, tmp_path: Path, capsys):
    some = sample(video, tmp_path / "some.h5", keep_mb=1)
    words = ["measure-motion", f"--frames={some}", f"--path={video}", f"--out={tmp_path / 'm.tsv'}"]
    assert main(words) == 2
    assert "--path: give --probe, too" in capsys.readouterr().err
    assert main([*words, f"--probe={video.with_suffix('.json')}"]) == 0
    whole = sample(video, tmp_path / "whole.h5")
    assert main(["measure-motion", f"--frames={whole}", f"--out={tmp_path / 'w.tsv'}"]) == 0
    assert (tmp_path / "m.tsv").read_bytes() == (tmp_path / "w.tsv").read_bytes()
