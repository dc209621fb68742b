"""Commands of stage detect."""

from __future__ import annotations

from typing import Any


def add_commands(commands: Any) -> None:
    """Add this stage's commands."""
