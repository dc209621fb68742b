"""Registries: tables `name -> "module:attribute"`, imported when used and open to entry points."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from hhvad.errors import ConfigError


def names(table: Mapping[str, str], group: str) -> list[str]:
    """The known names: those of the table, then those that other packages offer."""
    offered = [point.name for point in entry_points(group=group)]
    return list(dict.fromkeys([*table, *offered]))


def load(table: Mapping[str, str], name: str, group: str, kind: str) -> Any:
    """What `name` stands for in a table or in the entry points of `group`.

    kind: what the table lists, for the ConfigError that an unknown name raises.
    """
    if name in table:
        module, attribute = table[name].split(":")
        return getattr(import_module(module), attribute)
    for point in entry_points(group=group, name=name):
        return point.load()
    raise ConfigError(f"{kind} {name!r} is unknown; known: {', '.join(names(table, group))}")
