"""Numbers that others report, to stand beside ours. None was measured here.

In percent, as the authors report them in their papers (HeadHunt-VAD: arXiv 2512.17601); "AP" is
given without saying which of the two in use it is, unless `note` does.
"""

from __future__ import annotations

from typing import NamedTuple

REPORTED = "reported by its authors"


class Published(NamedTuple):
    """One reported number: a method on a dataset, in percent."""

    method: str
    dataset: str
    metric: str
    value: float
    note: str = ""


def _both(method: str, auc: float, ap: float, ap_note: str = "") -> tuple[Published, Published]:
    return (
        Published(method, "ucf-crime", "AUC", auc),
        Published(method, "xd-violence", "AP", ap, ap_note),
    )


_PAPER = "HeadHunt-VAD"

TABLE: tuple[Published, ...] = (
    *_both(_PAPER, 87.03, 82.63),
    *_both("SteerVAD", 87.15, 83.02),
    *_both("HiProbe-VAD", 86.72, 82.15),
    *_both("VERA", 86.55, 70.54),
    *_both("Flashback", 87.3, 75.1),
    *_both("Probe-VAD", 86.27, 75.36, "trapezoid"),
    *_both("CEAVAD", 86.15, 79.52),
    *_both("EventVAD", 82.03, 64.04),
    *_both("LAVAD", 80.28, 62.01),
    *_both(f"{_PAPER}, all heads of a layer", 80.15, 72.10),
    *_both(f"{_PAPER}, random heads", 66.65, 45.33),
    *_both(f"{_PAPER}, one coarse prompt", 81.86, 74.52),
    *_both(f"{_PAPER}, oracle prompt", 87.11, 82.95),
    *_both(f"{_PAPER}, linear SVM", 84.95, 76.52),
    *_both(f"{_PAPER}, MLP", 87.25, 82.81),
    *_both(f"{_PAPER}, no smoothing", 82.44, 75.88),
    *_both(f"{_PAPER}, tau 0.25", 70.91, 55.21),
    *_both(f"{_PAPER}, tau 0.50", 80.32, 71.49),
    *_both(f"{_PAPER}, tau 0.75", 71.15, 58.10),
)


def of(dataset: str) -> list[Published]:
    """The reported numbers on a dataset, in the order of the table."""
    return [row for row in TABLE if row.dataset == dataset]
