"""The locator as a file and as a typed object; the exact grid; gaps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hhvad.errors import ArtifactError
from hhvad.files import write_json
from hhvad.localization import locator, locator_file
from hhvad.localization.locator import Locator
from hhvad.methods.settings import NAMED

PAPER = Locator(1.5, 0.65, how="the paper's")


def test_written_and_read(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", PAPER.to_json())
    assert locator_file.read(tmp_path / "a.json") == PAPER
    for bad in ({"sigma": "x"}, {"tau": None}, {"border": "no"}, {"more": 1}):
        write_json(tmp_path / "a.json", PAPER.to_json() | bad)
        with pytest.raises(ArtifactError):
            locator_file.read(tmp_path / "a.json")


def test_shortest_event() -> None:
    found = {name: locator.shortest_event(one.sigma, one.tau) for name, one in NAMED.items()}
    assert found == {"lone-segment": 1, "paper": 3}
    assert locator.shortest_event(1.5, 1.0) is None


def test_smoothing_restarts_after_a_gap() -> None:
    scores = np.array([0.1, 0.9, 0.8, 0.2, 0.7])
    gap = np.array([[0, 4], [4, 8], [20, 24], [24, 28], [28, 32]])
    whole = np.stack([np.arange(5) * 4, np.arange(1, 6) * 4], axis=1)
    parts = [locator.smooth(part, 1.5) for part in (scores[:2], scores[2:])]
    assert np.array_equal(PAPER.smooth(scores, gap), np.concatenate(parts))
    assert np.array_equal(PAPER.smooth(scores, whole), locator.smooth(scores, 1.5))
    assert np.array_equal(PAPER.smooth(scores), locator.smooth(scores, 1.5))


def test_exact_grid_reaches_scores_below_the_papers() -> None:
    scores = [np.repeat([0.001, 0.002, 0.001], 8)]
    labels = [np.repeat([0, 1, 0], 8)]
    with pytest.raises(locator.NothingFoundError):
        locator.calibrate(scores, labels, thresholds=locator.THRESHOLDS)
    found = locator.calibrate(scores, labels)
    assert found.f1 == 1.0
    assert 0.001 < found.tau < 0.002
