"""What every method's entry in the config has, and the table of kinds."""

from __future__ import annotations

from typing import Annotated, Literal

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
