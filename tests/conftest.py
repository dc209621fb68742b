"""What the tests share: the folder of real data, where it is there."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared() -> Path:
    """../shared/data beside the checkout: real clips, annotations and parity vectors."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("../shared/data is not here: real clips and annotations cannot be tested")
    return folder
