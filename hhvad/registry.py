"""Registries: tables `name -> "module:attribute"`, imported when used and open to entry points."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

from hhvad.errors import ConfigError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint


def _entry_points(group: str) -> Iterable[EntryPoint]:
    from importlib.metadata import entry_points  # slow to import, and most jobs need none

    return entry_points(group=group)


def names(table: Mapping[str, str], group: str) -> list[str]:
    """The known names: those of the table, then those that other packages offer."""
    offered = [point.name for point in _entry_points(group)]
    return list(dict.fromkeys([*table, *offered]))


def load(table: Mapping[str, str], name: str, group: str, kind: str) -> Any:
    """What `name` stands for in a table or in the entry points of `group`.

    kind: what the table lists, for the ConfigError that an unknown name raises.
    """
    if name in table:
        module, attribute = table[name].split(":")
        return getattr(import_module(module), attribute)
    for point in _entry_points(group):
        if point.name == name:
            return point.load()
    raise ConfigError(f"{kind} {name!r} is unknown; known: {', '.join(names(table, group))}")
