"""What every method's entry in the config has, and the table of kinds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from hhvad.config import Section


class Grid(Section):
    """Values at equal distance."""

    first: Annotated[float, Field(gt=0)] = Field(description="The smallest value.")
    last: Annotated[float, Field(gt=0)] = Field(description="The largest value.")
    count: Annotated[int, Field(ge=1)] = Field(description="How many values.")

    def words(self) -> list[float]:
        """First, last and count, as flags take them."""
        return [self.first, self.last, self.count]


class Fixed(Section):
    """Smoothing and threshold as given."""

    sigma: Annotated[float, Field(gt=0)] = Field(description="Smoothing in segments.")
    tau: Annotated[float, Field(ge=0, le=1)] = Field(description="Threshold.")


PAPER_TAUS = Grid(first=0.1, last=0.9, count=81)

NAMED = {"lone-segment": Fixed(sigma=0.5, tau=0.5), "paper": Fixed(sigma=1.5, tau=0.65)}


class Locator(Section):
    """From scores to events: smoothing and threshold, calibrated on validation events."""

    border: Literal["renormalise", "zero"] = Field(
        "renormalise",
        description="Smoothing at the ends of a video; zero is the official code's.",
    )
    fixed: Literal["lone-segment", "paper"] | Fixed = Field(
        "lone-segment",
        description="Smoothing and threshold where no validation events calibrate them: "
        "`lone-segment` (sigma 0.5, tau 0.5) finds one certain segment alone; `paper` (1.5, 0.65) "
        "finds no event below three segments; or {sigma: ..., tau: ...}.",
    )
    sigmas: Grid = Field(Grid(first=0.5, last=3.0, count=11), description="Grid of sigma.")
    taus: Literal["exact", "paper"] | Grid = Field(
        "exact",
        description="The thresholds that are tried: exact, between every two neighbouring smoothed "
        "scores, whatever their scale; paper (0.1 to 0.9, 81 values), or {first: ..., last: ..., "
        "count: ...}.",
    )

    calibrate: bool = Field(
        True,
        description="Whether validation events decide smoothing and threshold; `fixed` does "
        "otherwise, as in the official code.",
    )
    passes: Annotated[int, Field(ge=1)] = Field(
        1,
        description="How often scores are smoothed before they are compared with annotations; "
        "events always come from one pass. The official evaluator smooths twice.",
    )
    tail: Literal["keep", "drop"] = Field(
        "keep",
        description="drop: a last segment that is shorter than the others is neither smoothed nor "
        "part of an event nor measured, as in the official code.",
    )

    @property
    def fallback(self) -> Fixed:
        """Smoothing and threshold where nothing calibrates them."""
        return NAMED[self.fixed] if isinstance(self.fixed, str) else self.fixed

    @property
    def thresholds(self) -> list[float] | Literal["exact"]:
        """The grid of tau, as a flag takes it."""
        if self.taus == "exact":
            return "exact"
        return (PAPER_TAUS if self.taus == "paper" else self.taus).words()


class Method(Section):
    """The part of a method's entry that all kinds share."""

    kind: str = Field(description="Which method this is; decides the other keys.")
    locator: Locator = Locator()

    @property
    def asks(self) -> dict[str, str]:
        """The names of the models that it asks, by the key that holds each."""
        return {}


def take_preset(data: Any, presets: Mapping[str, Mapping[str, Any]]) -> Any:
    """A method's entry, completed by the defaults of the preset that its key `preset` names.

    Whatever the entry itself says stays, also inside of a section. Without the key, the first
    preset. What is no entry, or names an unknown preset, is left to the check of types.
    """
    if not isinstance(data, Mapping):
        return data
    name = data.get("preset", next(iter(presets)))
    full = dict(data)
    for key, value in presets.get(name, {}).items() if isinstance(name, str) else ():
        given = full.get(key, {} if isinstance(value, Mapping) else value)
        both = isinstance(value, Mapping) and isinstance(given, Mapping)
        full[key] = {**value, **given} if both else given
    return full
