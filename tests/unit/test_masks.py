"""What is hidden from the models: the file, the pixels, and the frames of every door."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.path import Path
from numbered import write_numbered

from hhvad import masks
from hhvad.artifacts import hdf5
from hhvad.errors import ConfigError
from hhvad.media import mask
from hhvad.media import probe as video

SQUARE = ((0.25, 0.25), (0.75, 0.25), (0.75, 0.75), (0.25, 0.75))
HALF = (((0.0, 0.0), (0.5, 0.0), (0.5, 1.0), (0.0, 1.0)),)


def read(tmp_path, text: str):
    path = tmp_path / "masks.yaml"
    path.write_text(text)
    return masks.read(path)


def test_a_file(tmp_path):
    found = read(tmp_path, "door:\n- [[0, 0], [1, 0], [0.5, 1]]\nyard: []\n1: []\n")
    assert found == {"door": (((0.0, 0.0), (1.0, 0.0), (0.5, 1.0)),), "yard": (), "1": ()}


def test_a_closed_ring_is_a_polygon():
    ring = [[0, 0], [1, 0], [0.5, 1], [0, 0]]
    assert masks.parse([ring], "x") == (((0.0, 0.0), (1.0, 0.0), (0.5, 1.0)),)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1]", "not a list of cameras"),
        ("door:", "camera door: its polygons are None"),
        ("door: [3]", "polygon 1 is 3"),
        ("door: [[[0, 0], [1, 1]]]", "polygon 1 has 2 corners"),
        ("door: [[[0, 0], [1, 1], [0, 0]]]", "polygon 1 has 2 corners"),
        ("door: [[], []]", "polygon 1 has 0 corners"),
        ("door: [[[0, 0], [1.2, 0], [0, 1]]]", r"corner 2 is \[1.2, 0\]; .* from 0 to 1"),
        ("door: [[[0, 0], [.nan, 0], [0, 1]]]", "corner 2 is"),
        ("door: [[[0, 0], [true, 0], [0, 1]]]", "corner 2 is"),
        ("door: [[[0, 0], [1, 0, 0], [0, 1]]]", "corner 2 is"),
        ("door: [[[0, 0], [1, 1], [1, 0], [0, 1]]]", "crosses itself: the side after corner 1"),
        ("door: [[[0, 0], [1, 0], [0.5, 0]]]", "crosses itself"),
        ("door: [[[0, 0], [1, 0], [1, 0], [0, 1]]]", "crosses itself"),
        ("door: [[[0, 0], [1, 0], [0.5, 0.5], [0.5, 0], [0, 1]]]", "touches or crosses"),
        ("door: []\ndoor: []", "there twice"),
    ],
)
def test_bad_files_by_name(tmp_path, text: str, message: str):
    with pytest.raises(ConfigError, match=message):
        read(tmp_path, text)


def test_cameras_of_file_and_sheet_are_the_same():
    masks.require_cameras({"door": ()}, ["door", "door"], "masks: m.yaml")
    with pytest.raises(ConfigError, match=r"m.yaml has camera 'dor', which no row"):
        masks.require_cameras({"dor": ()}, ["door"], "masks: m.yaml")
    with pytest.raises(ConfigError, match=r"m.yaml lacks camera 'yard' .* `yard: \[\]`"):
        masks.require_cameras({"door": ()}, ["door", "yard"], "masks: m.yaml")


coordinates = st.integers(0, 20).map(lambda n: n / 20)


@given(st.lists(st.tuples(coordinates, coordinates), min_size=3, max_size=7, unique=True))
def test_crossing_is_what_pairs_of_sides_say(corners):
    """Against an independent test: a point of one side that lies on another."""
    count = len(corners)
    sides = [(np.array(corners[i]), np.array(corners[(i + 1) % count])) for i in range(count)]
    crossing = any(
        _share(sides[i], sides[j], neighbours=(j - i) % count in (1, count - 1))
        for i in range(count)
        for j in range(i + 1, count)
    )
    try:
        masks.parse([[list(corner) for corner in corners]], "x")
    except ConfigError:
        assert crossing
    else:
        assert not crossing


def _share(one, other, *, neighbours: bool) -> bool:
    """Solves for the common point; neighbours may share their one corner."""
    (a, b), (c, d) = one, other
    matrix = np.array([b - a, c - d]).T
    if abs(np.linalg.det(matrix)) > 1e-9:
        s, t = np.linalg.solve(matrix, c - a)
        inside = all(-1e-9 <= value <= 1 + 1e-9 for value in (s, t))
        return inside and not neighbours
    across = np.array([-(b - a)[1], (b - a)[0]])
    if abs(across @ (c - a)) > 1e-9:
        return False  # parallel
    along = sorted((point - a) @ (b - a) / ((b - a) @ (b - a)) for point in (c, d))
    overlap = min(1.0, along[1]) - max(0.0, along[0])
    return overlap > 1e-9 if neighbours else overlap > -1e-9


def test_the_flag_gives_back_the_polygons():
    assert masks.from_text(masks.to_text((SQUARE,))) == (SQUARE,)
    assert masks.from_text(None) == ()
    with pytest.raises(ConfigError, match="as JSON"):
        masks.from_text("[")


def test_pixels_are_hidden_by_their_centres():
    hidden = mask.inside([SQUARE], 4, 8)
    assert hidden.sum() == 8
    assert hidden[1:3, 2:6].all()
    # A triangle: below the diagonal; a pixel whose centre lies on it is at neither side twice.
    triangle = ((0.0, 0.0), (1.0, 1.0), (0.0, 1.0))
    other = ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0))
    assert (mask.inside([triangle], 6, 6) ^ mask.inside([other], 6, 6)).all()
    assert mask.inside([((0, 0), (1, 0), (1, 1), (0, 1))], 3, 5).all()
    assert not mask.inside([], 3, 5).any()


@given(st.integers(0, 2**32 - 1))
def test_pixels_of_a_star_are_those_that_matplotlib_finds_inside(seed: int):
    rng = np.random.default_rng(seed)
    angles = np.sort(rng.uniform(0, 2 * np.pi, 7))
    corners = 0.5 + (rng.uniform(0.1, 0.5, 7) * np.array([np.cos(angles), np.sin(angles)])).T
    hidden = mask.inside([tuple(map(tuple, corners.tolist()))], 60, 80)
    y, x = (np.indices((60, 80)) + 0.5) / np.array([60, 80])[:, None, None]
    inside = Path(corners).contains_points(np.column_stack([x.ravel(), y.ravel()]))
    np.testing.assert_array_equal(hidden.ravel(), inside)


def test_what_is_shown_stays_and_what_is_hidden_is_one_colour():
    pictures = np.random.default_rng(0).integers(0, 256, (3, 8, 10, 3)).astype(np.uint8)
    hidden = mask.inside(HALF, 8, 10)
    for before, after in zip(pictures, mask.hide(pictures, HALF), strict=True):
        np.testing.assert_array_equal(after[~hidden], before[~hidden])
        assert (after[hidden] == mask.COLOUR).all()
        assert after.dtype == np.uint8
        drawn = mask.draw(before, HALF)
        np.testing.assert_array_equal(drawn[~hidden], before[~hidden])
        assert (drawn[0, :5] == mask.LINE).all()
        faint = (before[3, 2].astype(int) + 3 * np.array(mask.COLOUR)) // 4
        np.testing.assert_array_equal(drawn[3, 2], faint)


SAMPLED = {"frames_per_segment": 2, "segment_length": 6, "size": (24, 32)}


def test_no_view_sees_what_is_hidden(tmp_path):
    """Two videos that differ behind the mask alone give the same frames."""
    path = write_numbered(tmp_path / "a.mp4", 12)
    info = video.probe(path)
    frames = {}
    for view, more in {
        "video": {}, "segments": {}, "grid": {},
        "focus": {"spans": [[0, 6], [3, 9]], "picked": [[1, 5], [3, 8]]},
    }.items():  # fmt: skip
        out = tmp_path / f"{view}.h5"
        video.sample_frames(path, info, out, video="a", view=view, mask=HALF, **SAMPLED, **more)
        found = hdf5.read(out, "frames")
        assert found.provenance["mask"] == [[list(corner) for corner in HALF[0]]]
        frames[view] = found["frames"]
        # Bicubic: two pixels beside the border have a part of both sides.
        assert (found["frames"][:, :, :, :14] == mask.COLOUR).all()
    streamed = list(video.stream_segments(path, info, mask=HALF, **SAMPLED))
    np.testing.assert_array_equal(np.stack(streamed), frames["segments"])


def test_without_a_mask_nothing_is_said_of_one(tmp_path):
    path = write_numbered(tmp_path / "a.mp4", 12)
    info = video.probe(path)
    video.sample_frames(path, info, tmp_path / "a.h5", video="a", view="video", **SAMPLED)
    assert "mask" not in hdf5.read(tmp_path / "a.h5", "frames").provenance


def test_no_hidden_pixel_has_a_part_in_a_frame(tmp_path):
    from hhvad.media.resize import with_numpy

    rng = np.random.default_rng(1)
    one = rng.integers(0, 256, (1, 60, 80, 3)).astype(np.uint8)
    other = one.copy()
    hidden = mask.inside([SQUARE], 60, 80)
    other[0, hidden] = rng.integers(0, 256, (hidden.sum(), 3))
    small = [with_numpy(np.stack(list(mask.hide(p, [SQUARE]))), (17, 23)) for p in (one, other)]
    np.testing.assert_array_equal(*small)
