"""The long form (`make faults`) and the table at its end."""

from __future__ import annotations

import os

import pytest
from campaign import Tally

_TALLY = Tally()


@pytest.fixture(scope="session")
def long() -> bool:
    """Whether this is `make faults`; `make test` runs the short form."""
    return os.environ.get("HHVAD_FAULTS") == "long"


@pytest.fixture(scope="session")
def tally() -> Tally:
    return _TALLY


def pytest_terminal_summary(terminalreporter, exitstatus):
    failed = len(terminalreporter.stats.get("failed", []))
    terminalreporter.write_line(f"\n{_TALLY.table()}| tests failed | {failed} |")
