"""When a recording started: the wall clock, as file names and containers tell it."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from itertools import zip_longest

from hhvad.errors import ConfigError

# What a pattern of file names may hold, and how many digits each has.
_DIRECTIVES = {
    "Y": r"\d{4}",
    **dict.fromkeys("mdHMS", r"\d{2}"),
    "f": r"\d{1,6}",
    "z": r"(?:Z|[+-]\d{2}:?\d{2})",
}


def parts(pattern: str) -> tuple[list[str], list[str]]:
    """The texts of a pattern, and the letters behind a % between them.

    Raises ConfigError where it does not give year, month and day, or gives something twice.
    """
    words = re.split(r"%(.)", pattern)
    texts, used = words[::2], words[1::2]
    unknown = [one for one in used if one not in _DIRECTIVES]
    if unknown or not {"Y", "m", "d"} <= set(used) or "%" in "".join(texts):
        raise ConfigError(
            f"start pattern {pattern!r} must have %Y, %m and %d, may have %H %M %S %f %z, "
            "and nothing else behind a %"
        )
    if len(set(used)) < len(used):
        raise ConfigError(f"start pattern {pattern!r} has one of its parts twice")
    return texts, used


def start_in_name(name: str, pattern: str) -> str | None:
    """When a recording started, by its file's name: UTC as ISO 8601; None where it does not fit.

    pattern: what the name or a part of it is like, with %Y %m %d %H %M %S %f %z for the parts of
    the time, as in "cam1_%Y%m%d-%H%M%S". Without %z the time is taken for UTC. Raises ConfigError
    as `parts` does.
    """
    texts, used = parts(pattern)
    groups = [f"({_DIRECTIVES[one]})" for one in used]
    pairs = zip_longest(map(re.escape, texts), groups, fillvalue="")
    found = re.search("".join(text + group for text, group in pairs), name)
    if found is None:
        return None
    try:
        # Separated, so that strptime cannot cut the digits otherwise.
        form = " ".join(f"%{one}" for one in used)
        time = datetime.strptime(" ".join(found.groups()), form)
    except ValueError:  # as the 31st of February
        return None
    return utc(time)


def utc(time: datetime) -> str:
    """A time as ISO 8601 in UTC; one without a zone is taken for UTC."""
    known = time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    return known.isoformat()
