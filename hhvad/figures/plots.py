"""The figures: arrays in, matplotlib figures out; colour-blind safe, the same bytes each time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from hhvad.files import atomic_path

Floats = NDArray[np.float64]

# Okabe and Ito's palette: told apart by all common kinds of colour vision.
BLUE, ORANGE, GREEN, RED, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#7F7F7F"
SKY, PINK, BLACK = "#56B4E9", "#CC79A7", "#000000"
LINES = (BLUE, RED, GREEN, ORANGE, PINK, SKY, BLACK)
DASHES = ("-", "--", "-.", ":")
HALO = [withStroke(linewidth=3.5, foreground="white")]  # seen on dark and light
STYLE: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.parse_math": False,  # names of videos may hold $
    "svg.hashsalt": "hhvad",
    "svg.fonttype": "path",
    "figure.dpi": 100,
    "savefig.dpi": 130,
}


def save(figure: Figure, path: str | Path) -> None:
    """Write a figure atomically, as its suffix says; no date in it."""
    kind = Path(path).suffix.lstrip(".")
    metadata = {"Date": None} if kind == "svg" else {"Software": None}
    with atomic_path(path) as partial, mpl.rc_context(STYLE):
        # The solver of the layout rounds differently from run to run; the file must not.
        figure.draw_without_rendering()
        figure.set_layout_engine("none")
        for axes in figure.axes:
            left, bottom, width, height = (round(v, 6) for v in axes.get_position().bounds)
            axes.set_position((left, bottom, width, height))
        figure.savefig(partial, format=kind, metadata=metadata)


def _figure(width: float, height: float, **options: Any) -> Figure:
    return Figure(figsize=(width, height), layout="constrained", **options)


def _threshold(axes: Axes, taus: Floats, edges: Floats) -> None:
    """A line where the threshold is the same throughout, else steps; NaN where is no score."""
    lowest, highest = float(np.nanmin(taus)), float(np.nanmax(taus))
    if lowest == highest:
        axes.axhline(lowest, color=RED, ls="--", lw=1.2, label=f"threshold {lowest:.2f}")
        return
    label = f"threshold {lowest:.2f} to {highest:.2f}"
    axes.stairs(taus, edges, baseline=None, color=RED, ls="--", lw=1.2, label=label)


def video(
    name: str,
    bounds: Floats,
    score: Floats,
    smoothed: Floats,
    *,
    tau: float | Floats,
    duration: float,
    detected: Sequence[tuple[float, float]],
    annotated: Sequence[tuple[float, float]] | None,
    thumbnails: Sequence[tuple[float, NDArray[np.uint8]]] = (),
    label: str = "",
) -> Figure:
    """A video's scores over time, above its thumbnails.

    bounds [T, 2], duration, detected and annotated intervals and thumbnails' times are in seconds;
    score and smoothed are [T], tau is a number or [T]; annotated is None where the video has no
    annotation. Where no segment is, nothing is drawn.
    """
    with mpl.rc_context(STYLE):
        # Thumbnails side by side fill the width; the strip is as high as their shape asks for.
        high = max((0.3, *(12 / len(thumbnails) * p.shape[0] / p.shape[1] for _, p in thumbnails)))
        heights = [min(high, 3.0), 2.6, 0.7] if thumbnails else [0.01, 2.6, 0.7]
        figure = _figure(13, sum(heights) + 1.1)
        strip, axes, bars = figure.subplots(
            3, 1, sharex=True, height_ratios=heights, gridspec_kw={"hspace": 0.02}
        )
        figure.suptitle(f"{name}   {label}".rstrip(), fontsize=11, x=0.01, ha="left")
        _strip(strip, thumbnails, duration)
        edges = np.append(bounds[:, 0], bounds[-1, 1])
        steps = [score, smoothed, np.broadcast_to(tau, score.shape)]
        unscored = np.flatnonzero(bounds[1:, 0] > bounds[:-1, 1]) + 1
        edges = np.insert(edges, unscored, bounds[unscored - 1, 1])
        score, smoothed, taus = (np.insert(one, unscored, np.nan) for one in steps)
        axes.stairs(score, edges, color=GREY, lw=1, label="score")
        axes.stairs(smoothed, edges, color=BLUE, lw=2, label="smoothed")
        _threshold(axes, taus, edges)
        axes.set(ylim=(0, 1), ylabel="anomaly score, 0-1")
        axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=3, frameon=False)
        rows = [("detected", detected, BLUE, "")]
        if annotated is not None:
            rows.append(("annotated", annotated, ORANGE, "//"))
        for row, (_, spans, colour, hatch) in enumerate(rows):
            pieces = [(start, end - start) for start, end in spans]
            bars.broken_barh(
                pieces, (row - 0.38, 0.76), facecolor=colour, hatch=hatch, edgecolor="white"
            )
            if not spans:
                bars.text(0.01, row, "none", transform=bars.get_yaxis_transform(), va="center",
                          color=GREY, fontsize=8)  # fmt: skip
        bars.set_yticks(range(len(rows)), [row[0] for row in rows])
        bars.set(xlim=(0, duration), ylim=(len(rows) - 0.5, -0.5), xlabel="time in seconds")
        bars.spines["left"].set_visible(False)
        bars.tick_params(axis="y", length=0)
    return figure


def _strip(axes: Any, pictures: Sequence[tuple[float, NDArray[np.uint8]]], duration: float) -> None:
    axes.set_axis_off()
    if not pictures:
        return
    width = duration / len(pictures)
    for number, (_, picture) in enumerate(pictures):
        place = (number * width, (number + 0.97) * width, 0, 1)
        axes.imshow(picture, extent=place, aspect="auto", interpolation="bilinear")
    axes.set(xlim=(0, duration), ylim=(0, 1))


def rss(
    values: Floats, experts: Sequence[tuple[int, int]], selected: Floats | None = None
) -> Figure:
    """RSS [L, H] of every head; the experts by their rank, and how often resamples chose a head."""
    with mpl.rc_context(STYLE):
        layers, heads = values.shape
        figure = _figure(max(5.5, 1.8 + 0.3 * heads), max(3.6, 1.2 + 0.3 * layers))
        axes = figure.subplots()
        _heat(figure, axes, values, "RSS: mean - λ sd of saliency, 0-1")
        for rank, (layer, head) in enumerate(experts, start=1):
            axes.plot(head, layer, "o", ms=13, mfc="white", mec="black", mew=1.2)
            axes.text(head, layer, str(rank), ha="center", va="center", fontsize=8, weight="bold")
        if selected is not None:
            often = [(la, h) for la, h in np.argwhere(selected >= 0.2) if (la, h) not in experts]
            for layer, head in often:
                axes.plot(
                    head, layer, "s", ms=9, mfc="none", mec="black", mew=1.2, path_effects=HALO
                )
        lines = ["Robust saliency of every head", "numbers: experts by rank"]
        if selected is not None:
            lines.append("squares: chosen in a fifth of resamples or more")
        axes.set_title("\n".join(lines), fontsize=10, loc="left")
    return figure


def saliency(values: Floats, prompts: Sequence[str]) -> Figure:
    """Normalised saliency [P, L, H], one map a prompt on one scale."""
    with mpl.rc_context(STYLE):
        columns = min(3, len(prompts))
        rows = -(-len(prompts) // columns)
        figure = _figure(3.7 * columns + 0.8, 3.2 * rows)
        grid = np.atleast_1d(figure.subplots(rows, columns, squeeze=False)).ravel()
        image: Any = None
        for axes, value, prompt in zip(grid, values, prompts, strict=False):
            image = _map(axes, value, 0.0, 1.0)
            axes.set_title(prompt, fontsize=10, loc="left")
        for axes in grid[len(prompts) :]:
            axes.set_axis_off()
        figure.colorbar(image, ax=list(grid), label="saliency, 0-1 within a prompt", shrink=0.8)
    return figure


def _heat(figure: Figure, axes: Any, values: Floats, label: str) -> None:
    figure.colorbar(_map(axes, values), ax=axes, label=label)


def _map(axes: Any, values: Floats, low: float | None = None, high: float | None = None) -> Any:
    colours = mpl.colormaps["cividis"].with_extremes(bad="#DDDDDD")
    shown = np.ma.masked_invalid(values)
    image = axes.imshow(shown, cmap=colours, vmin=low, vmax=high, aspect="auto")
    for layer, head in np.argwhere(~np.isfinite(values)):
        axes.text(head, layer, "x", ha="center", va="center", color="black", fontsize=7)
    axes.set(xlabel="head", ylabel="layer")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.yaxis.get_major_locator().set_params(integer=True)
    return image


def agreement(values: Floats, prompts: Sequence[str], k: int) -> Figure:
    """How far prompts agree on normalised saliency [P, L, H]: rank correlation, shared top k."""
    flat = values.reshape(len(prompts), -1)
    flat = flat[:, np.isfinite(flat).all(axis=0)]
    ranks = flat.argsort(axis=1).argsort(axis=1)
    top = [set(np.argsort(-row, kind="stable")[:k].tolist()) for row in flat]
    shared = np.array([[len(a & b) for b in top] for a in top], dtype=np.float64)
    with mpl.rc_context(STYLE):
        figure = _figure(4.6 * 2 + 1, 4.4)
        left, right = figure.subplots(1, 2)
        _table(
            left,
            np.atleast_2d(np.corrcoef(ranks)),
            prompts,
            "{:.2f}",
            "rank correlation of saliency",
            -1,
            1,
        )
        _table(right, shared, prompts, "{:.0f}", f"heads shared among the top {k}", 0, k)
    return figure


def _table(
    axes: Any, values: Floats, names: Sequence[str], form: str, title: str, low: float, high: float
) -> None:
    axes.imshow(values, cmap="cividis", vmin=low, vmax=high)
    for row, line in enumerate(values):
        for column, value in enumerate(line):
            dark = (value - low) / (high - low) < 0.55
            axes.text(column, row, form.format(value), ha="center", va="center",
                      color="white" if dark else "black")  # fmt: skip
    axes.set_xticks(range(len(names)), names, rotation=35, ha="right")
    axes.set_yticks(range(len(names)), names)
    axes.set_title(title, fontsize=10, loc="left")


def features(
    experts: Floats, layer: Floats, labels: Sequence[str], names: tuple[str, str]
) -> Figure:
    """Two principal components of features: the experts' [N, K*D], a whole layer's [N, H*D]."""
    with mpl.rc_context(STYLE):
        figure = _figure(9.5, 4.5)
        note = "The experts were chosen on these videos: on new ones they separate less well."
        figure.suptitle(note, fontsize=10, x=0.01, ha="left")
        for axes, values, title in zip(figure.subplots(1, 2), (experts, layer), names, strict=True):
            points, share = _principal(values)
            for label, colour, marker in (("normal", BLUE, "o"), ("anomaly", RED, "^")):
                chosen = np.array([one == label for one in labels])
                axes.scatter(*points[chosen].T, c=colour, marker=marker, s=45, label=label,
                             edgecolor="white", linewidth=0.6)  # fmt: skip
            axes.set_title(title, fontsize=10, loc="left")
            axes.set(
                xlabel=f"component 1 ({share[0]:.0%} of variance)",
                ylabel=f"component 2 ({share[1]:.0%})",
            )
        axes.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
    return figure


def _principal(values: Floats) -> tuple[Floats, Floats]:
    """The first two principal components [N, 2], signs fixed, and their shares of the variance."""
    centred = values - values.mean(axis=0)
    left, size, axes = np.linalg.svd(centred, full_matrices=False)
    signs = np.sign(axes[np.arange(len(axes)), np.abs(axes).argmax(axis=1)])
    points = left * size * signs
    if points.shape[1] < 2:
        points = np.pad(points, ((0, 0), (0, 2 - points.shape[1])))
    total = float((size**2).sum()) or 1.0
    share = np.pad(size**2 / total, (0, max(0, 2 - len(size))))
    return points[:, :2], share[:2]


def curve(
    x: Floats,
    y: Floats,
    *,
    band: tuple[Floats, Floats, Floats] | None = None,
    label: str,
    chance: float | None,
    names: tuple[str, str],
    title: str,
) -> Figure:
    """A ROC (chance None: the diagonal) or a precision-recall curve (chance: its level).

    band: x and the lowest and highest y of resampled curves.
    """
    with mpl.rc_context(STYLE):
        figure = _figure(4.8, 5.2)
        axes = figure.subplots()
        if chance is None:
            axes.plot([0, 1], [0, 1], color=GREY, ls=":", label="chance")
        else:
            axes.axhline(chance, color=GREY, ls=":", label=f"chance {chance:.2f}")
        if band is not None:
            name = "95 % of resamples of the videos"
            axes.fill_between(*band, color=BLUE, alpha=0.18, linewidth=0, label=name)
        axes.plot(x, y, color=BLUE, lw=2, label=label)
        axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel=names[0], ylabel=names[1])
        axes.set_title(title, fontsize=10, loc="left")
        axes.legend(loc="upper left", bbox_to_anchor=(0, -0.14), frameon=False)
        axes.set_aspect("equal")
    return figure


def with_interval(name: str, metric: Mapping[str, Any]) -> str:
    """A metric in percent with its interval, as the label of a line."""
    if metric["value"] is None:
        return f"{name} undefined"
    text = f"{name} {100 * metric['value']:.1f} %"
    if metric.get("low") is not None:
        text += f" ({100 * metric['low']:.1f}-{100 * metric['high']:.1f})"
    return text


def method_curves(
    lines: Mapping[str, Mapping[str, tuple[Floats, Floats]]],
    labels: Mapping[str, Mapping[str, str]],
) -> Figure:
    """ROC and precision-recall curves of several methods: x and y of `roc` and `pr` by method."""
    with mpl.rc_context(STYLE):
        figure = _figure(10.6, 5.0 + 0.22 * len(lines))
        panels = figure.subplots(1, 2)
        for axes, kind, names, title in zip(
            panels,
            ("roc", "pr"),
            (
                ("false positive rate of frames", "true positive rate of frames"),
                ("recall of anomalous frames", "precision"),
            ),
            ("ROC", "Precision and recall"),
            strict=True,
        ):
            for number, (method, curves) in enumerate(lines.items()):
                colour = LINES[number % len(LINES)]
                dash = DASHES[number // len(LINES) % len(DASHES)]
                label = f"{method}: {labels[method][kind]}"
                axes.plot(*curves[kind], color=colour, ls=dash, lw=1.8, label=label)
            if kind == "roc":
                axes.plot([0, 1], [0, 1], color=GREY, ls=":", label="chance")
            axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel=names[0], ylabel=names[1])
            axes.set_title(f"{title} over all annotated test frames", fontsize=10, loc="left")
            axes.legend(loc="upper left", bbox_to_anchor=(0, -0.14), frameon=False, fontsize=9)
            axes.set_aspect("equal")
    return figure


def sweep(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """AUC and AP by K, a line per lambda with 95 % intervals.

    rows: each with `experts` (K), `penalty` (lambda) and `auc`, `ap_step` with `_low` and `_high`.
    """
    penalties = sorted({row["penalty"] for row in rows})
    counts = sorted({row["experts"] for row in rows})
    with mpl.rc_context(STYLE):
        figure = _figure(9.6, 4.2)
        panels = figure.subplots(1, 2)
        for axes, name, title in zip(panels, ("auc", "ap_step"), ("AUC", "AP (step)"), strict=True):
            for number, penalty in enumerate(penalties):
                aside = 0.5 * (number / max(len(penalties) - 1, 1) - 0.5)
                points = [
                    (counts.index(row["experts"]) + aside, *(row[name + end] for end in ENDS))
                    for row in rows
                    if row["penalty"] == penalty and row[name] is not None
                ]
                x, y, low, high = np.array(points, dtype=np.float64).reshape(-1, 4).T
                bars = np.nan_to_num(np.stack([y - low, high - y]).clip(0))
                axes.errorbar(
                    x, y, bars, color=LINES[number % len(LINES)], lw=1, elinewidth=1, marker="o",
                    ms=4, label=f"lambda {penalty:g}",
                )  # fmt: skip
            axes.set_xticks(range(len(counts)), [str(count) for count in counts])
            axes.set(xlabel="K, the number of experts", ylim=(0, 1.02))
            axes.set_title(
                f"{title} of frames, 95 % intervals over videos", fontsize=10, loc="left"
            )
        panels[0].legend(loc="lower left", frameon=False, fontsize=8)
    return figure


ENDS = ("", "_low", "_high")
MOST_VIDEOS = 60


def method_videos(videos: Mapping[str, Mapping[str, Any]], methods: Sequence[str]) -> Figure:
    """Videos by methods: AUC inside abnormal ones, share above the threshold in normal ones.

    videos: each one's `label` and `methods`, with `auc` and `above_tau` by method. Those that the
    methods disagree on most come first; at most MOST_VIDEOS of a kind are shown.
    """
    parts = []
    for label, key, title, palette, unit in (
        ("anomaly", "auc", "AUC of frames in each abnormal video", "cividis", "AUC, 0-1"),
        (
            "normal",
            "above_tau",
            "share of frames above the threshold, normal videos",
            "cividis_r",
            "share of frames, 0-1",
        ),
    ):
        rows = {
            name: [one["methods"][method][key] for method in methods]
            for name, one in videos.items()
            if one["label"] == label and None not in [m[key] for m in one["methods"].values()]
        }
        order = sorted(rows, key=lambda name: (min(rows[name]) - max(rows[name]), name))
        shown = order[:MOST_VIDEOS]
        more = f" (the {len(shown)} of {len(order)} with most disagreement)"
        parts.append((title + more * (len(shown) < len(order)), palette, shown, rows, unit))
    with mpl.rc_context(STYLE):
        longest = max((len(parts[0][2]), len(parts[1][2]), 1))
        width = 3.2 + 0.6 * len(methods)
        figure = _figure(2 * max(width, 5.4), 2.0 + 0.2 * longest)
        for axes, (title, palette, shown, rows, unit) in zip(
            figure.subplots(1, 2), parts, strict=True
        ):
            axes.set_title(title, fontsize=9, loc="left")
            if not shown:
                axes.set_axis_off()
                axes.text(0, 0.9, "none", transform=axes.transAxes, color=GREY)
                continue
            values = np.array([rows[name] for name in shown], dtype=np.float64)
            image = axes.imshow(values, cmap=palette, vmin=0, vmax=1, aspect="auto")
            axes.set_xticks(range(len(methods)), methods, rotation=35, ha="right")
            names = [name if len(name) <= 32 else f"{name[:31]}…" for name in shown]
            axes.set_yticks(range(len(shown)), names, fontsize=7)
            figure.colorbar(image, ax=axes, shrink=0.8, label=unit)
    return figure
