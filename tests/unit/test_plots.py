"""Figures: what is drawn is what the arrays say, and a figure is the same bytes each time."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pytest
from probes import write_probe
from sklearn.decomposition import PCA

from hhvad.artifacts import hdf5 as artifacts
from hhvad.cli import main
from hhvad.demo.encode import encode
from hhvad.demo.plan import scenes
from hhvad.figures import plots
from hhvad.files import write_json, write_tsv
from hhvad.localization.locator import Locator

BOUNDS = np.array([[0, 2], [2, 4], [4, 5]]) * 1.0
HOSTILE = "<script>alert(1)</script> $x^2$"


def draw_video(annotated, name="v"):
    return plots.video(
        name,
        BOUNDS,
        np.array([0.1, 0.9, 0.4]),
        np.array([0.3, 0.5, 0.45]),
        tau=0.48,
        duration=5.0,
        detected=[(2.0, 4.0)],
        annotated=annotated,
        thumbnails=[(1.0, np.zeros((4, 6, 3), np.uint8)), (3.0, np.full((4, 6, 3), 255, np.uint8))],
    )


def test_a_video_shows_scores_threshold_and_intervals():
    figure = draw_video([(2.5, 3.5)])
    strip, axes, bars = figure.axes
    assert len(strip.images) == 2
    raw, smoothed = (patch.get_data() for patch in axes.patches)
    assert raw.values.tolist() == [0.1, 0.9, 0.4]
    assert raw.edges.tolist() == [0, 2, 4, 5]
    assert smoothed.values.tolist() == [0.3, 0.5, 0.45]
    assert list(axes.lines[0].get_ydata()) == [0.48, 0.48]
    assert [t.get_text() for t in bars.get_yticklabels()] == ["detected", "annotated"]
    spans = [c.get_paths()[0].get_extents().intervalx.tolist() for c in bars.collections]
    assert spans == [[2.0, 4.0], [2.5, 3.5]]


@pytest.mark.parametrize("tau", [0.48, np.array([0.4, 0.5, 0.6])], ids=["one", "each"])
def test_where_no_segment_is_nothing_is_drawn(tau):
    bounds, values = np.array([[0, 2], [3, 4], [4, 5]]) * 1.0, np.array([0.1, 0.9, 0.4])
    figure = plots.video(
        "v", bounds, values, values, tau=tau, duration=5.0, detected=[], annotated=None
    )
    for patch in figure.axes[1].patches:
        drawn = patch.get_data()
        assert drawn.edges.tolist() == [0, 2, 3, 4, 5]
        assert np.isnan(drawn.values).tolist() == [False, True, False, False]


def test_a_video_without_annotation_has_no_annotated_row_and_one_without_events_says_none():
    (*_, bars) = draw_video(None).axes
    assert [t.get_text() for t in bars.get_yticklabels()] == ["detected"]
    (*_, bars) = draw_video([]).axes
    assert [t.get_text() for t in bars.texts] == ["none"]


@pytest.mark.parametrize("suffix", ["svg", "png"])
def test_the_same_figure_is_the_same_bytes(tmp_path, suffix):
    for name in "ab":
        plots.save(draw_video([(1.0, 2.0)], HOSTILE), tmp_path / f"{name}.{suffix}")
    assert (tmp_path / f"a.{suffix}").read_bytes() == (tmp_path / f"b.{suffix}").read_bytes()
    assert b"<script" not in (tmp_path / f"a.{suffix}").read_bytes()


def test_rss_numbers_the_experts_by_rank_and_crosses_out_undefined_heads():
    values = np.arange(12.0).reshape(3, 4)
    values[0, 0] = np.nan
    selected = np.zeros((3, 4))
    selected[1, 1], selected[2, 3] = 0.5, 1.0
    axes = plots.rss(values, [(2, 3), (2, 2)], selected).axes[0]
    texts = {(t.get_position()): t.get_text() for t in axes.texts}
    assert texts == {(3, 2): "1", (2, 2): "2", (0, 0): "x"}
    squares = [
        (line.get_xdata()[0], line.get_ydata()[0])
        for line in axes.lines
        if line.get_marker() == "s"
    ]
    assert squares == [(1, 1)]  # (2, 3) is an expert already


@pytest.mark.parametrize("shape", [(4, 4), (8, 8), (28, 28)])
def test_the_title_of_an_rss_map_is_not_clipped(shape):
    figure = plots.rss(np.random.default_rng(0).random(shape), [(1, 2)], np.zeros(shape))
    figure.draw_without_rendering()
    title = figure.axes[0].get_title(loc="left")
    (text,) = [t for t in figure.findobj(match=mpl.text.Text) if t.get_text() == title]
    box = text.get_window_extent()
    assert box.x0 >= 0
    assert box.x1 <= figure.bbox.width
    assert box.y1 <= figure.bbox.height


def test_thumbnails_keep_their_shape():
    pictures = [(float(i), np.zeros((90, 160, 3), np.uint8)) for i in range(8)]
    figure = plots.video(
        "v", BOUNDS, BOUNDS[:, 0] / 9, BOUNDS[:, 0] / 9, tau=0.5, duration=5.0, detected=[],
        annotated=None, thumbnails=pictures,
    )  # fmt: skip
    figure.draw_without_rendering()
    box = figure.axes[0].get_window_extent()
    assert box.width * 0.97 / 8 / box.height == pytest.approx(16 / 9, rel=0.1)
    assert box.width / 8 / figure.dpi > 1.4  # inches


def test_the_plot_of_features_says_that_its_heads_were_chosen_on_them():
    values = np.random.default_rng(0).random((6, 4))
    figure = plots.features(values, values, ["normal", "anomaly"] * 3, ("a", "b"))
    assert "chosen on these videos" in figure.get_suptitle()


def test_saliency_has_one_map_a_prompt_on_one_scale():
    figure = plots.saliency(np.random.default_rng(0).random((4, 3, 2)), ["a", "b", "c", "d"])
    shown = [axes for axes in figure.axes if axes.images]
    assert [axes.get_title(loc="left") for axes in shown] == ["a", "b", "c", "d"]
    assert {axes.images[0].get_clim() for axes in shown} == {(0.0, 1.0)}


def test_agreement_is_spearman_and_the_size_of_the_intersection():
    values = np.array([[[0.1, 0.2], [0.3, 0.9]], [[0.9, 0.8], [0.7, 0.0]]])
    left, right = plots.agreement(values, ["up", "down"], 2).axes
    texts = [[t.get_text() for t in axes.texts] for axes in (left, right)]
    assert texts == [["1.00", "-1.00", "-1.00", "1.00"], ["2", "0", "0", "2"]]


def test_the_projection_is_that_of_scikit_learn():
    values = np.random.default_rng(1).normal(size=(9, 5)) * [5, 3, 1, 1, 1]
    points, share = plots._principal(values)
    known = PCA(2).fit(values)
    np.testing.assert_allclose(np.abs(points), np.abs(known.transform(values)), atol=1e-9)
    np.testing.assert_allclose(share, known.explained_variance_ratio_, atol=1e-12)


def test_the_projection_of_two_equal_points_is_one_point():
    points, share = plots._principal(np.ones((2, 3)))
    assert points.tolist() == [[0, 0], [0, 0]]
    assert share.tolist() == [0, 0]


# The commands.


@pytest.fixture
def experts(tmp_path):
    rng = np.random.default_rng(0)
    normalised = rng.random((3, 2, 4))
    arrays = {
        "experts": np.array([[1, 2], [0, 0]]),
        "rss": normalised.mean(axis=0),
        "normalised": normalised,
        "selected": rng.random((2, 4)),
    }
    path = tmp_path / "experts.h5"
    artifacts.write(path, "experts", arrays, {"prompts": ["a", "b", "c"]})
    return path


def test_plot_heads(experts, tmp_path):
    names = ("rss", "saliency", "agreement")
    out = [word for name in names for word in (f"--out-{name}", str(tmp_path / f"{name}.svg"))]
    assert main(["plot-heads", "--experts", str(experts), *out]) == 0
    for name in names:
        assert (tmp_path / f"{name}.svg").read_text().startswith("<?xml")


def test_plot_features_wants_a_label_for_each_file(experts, tmp_path, capsys):
    files = []
    for number in range(4):
        features = np.random.default_rng(number).normal(size=(1, 2, 4, 3)).astype(np.float32)
        files.append(str(tmp_path / f"{number}.h5"))
        arrays = {"features": features, "segments": np.array([[0, 48]])}
        artifacts.write(files[-1], "features", arrays, {"model": "tiny"})
    command = ["plot-features", "--experts", str(experts), "--out", str(tmp_path / "f.svg")]
    command += ["--features", *files, "--labels", "normal", "anomaly", "normal"]
    assert main(command) == 2
    assert "--labels has 3 values and --features 4" in capsys.readouterr().err
    assert main([*command, "anomaly"]) == 0
    assert (tmp_path / "f.svg").is_file()


@pytest.fixture
def scored(tmp_path):
    """A demo video with a probe, scores, events and a detector."""
    name, (_, scene) = next((n, v) for n, v in scenes(0).items() if v[1].happenings)
    path = tmp_path / "a video.mp4"
    encode(scene, path)
    write_probe(tmp_path / f"{name}.json", scene.n_frames, 25)
    half = scene.n_frames // 2
    rows = [(0, 0, half, 0.2, 0.3), (1, half, scene.n_frames, 0.9, 0.8)]
    columns = ("segment", "start_frame", "end_frame", "score", "smoothed")
    write_tsv(tmp_path / f"{name}.tsv", columns, rows)
    write_tsv(tmp_path / "events.tsv", ("start_seconds", "end_seconds"), [(1.0, 2.5)])
    write_json(tmp_path / "locator.json", Locator(0.5, 0.5).to_json())
    return name, scene, path


def plot_video(tmp_path, name):
    return main(
        [
            "plot-video", "--video", name, "--annotated", "10-40",
            "--thumbnails", str(tmp_path / "thumbnails.h5"),
            "--scores", str(tmp_path / f"{name}.tsv"),
            "--events-detected", str(tmp_path / "events.tsv"),
            "--locator", str(tmp_path / "locator.json"),
            "--probe", str(tmp_path / f"{name}.json"), "--out", str(tmp_path / "v.png"),
        ]
    )  # fmt: skip


@pytest.mark.parametrize("count", [0, 1, 24])
def test_plot_video(scored, tmp_path, count):
    arrays = {
        "pictures": np.full((count, 90, 160, 3), 99, np.uint8),
        "frames": np.arange(count) * 5,
        "seconds": np.arange(count) / 5,
    }
    artifacts.write(tmp_path / "thumbnails.h5", "thumbnails", arrays, {})
    assert plot_video(tmp_path, scored[0]) == 0
    assert (tmp_path / "v.png").stat().st_size > 20_000


def test_plot_curves_steps_through_every_threshold(scored, tmp_path, capsys):
    name, scene, path = scored
    happening = scene.happenings[0]
    sheet = tmp_path / "sheet.tsv"
    columns = ("video", "path", "split", "label", "category", "events")
    row = (name, str(path), "test", "anomaly", "", f"{happening.start}-{happening.end}")
    write_tsv(sheet, columns, [row])
    number = {"value": 0.75, "low": 0.5, "high": 1.0}
    values = {"auc": number, "ap_step": {**number, "low": None}}
    metrics = {"metrics": values, "locator": Locator(0.5, 0.5).to_json()}
    metrics["bootstrap"] = {"resamples": 20, "seed": 0}
    write_json(tmp_path / "metrics.json", metrics)
    command = [
        "plot-curves", "--sheet", str(sheet), "--scores-folder", str(tmp_path),
        "--probes-folder", str(tmp_path), "--metrics", str(tmp_path / "metrics.json"),
        "--out-roc", str(tmp_path / "roc.svg"), "--out-pr", str(tmp_path / "pr.svg"),
    ]  # fmt: skip
    assert main(command) == 0
    assert (tmp_path / "roc.svg").is_file()
    assert (tmp_path / "pr.svg").is_file()
    write_tsv(sheet, columns, [(*row[:5], "")])
    assert main(command) == 2
    assert "no test video has an annotation" in capsys.readouterr().err
