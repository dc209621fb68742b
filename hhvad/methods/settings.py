"""What every method's entry in the config has, and the table of kinds."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

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


class Locator(Section):
    """From scores to events: smoothing and threshold, calibrated on validation events."""

    border: Literal["renormalise", "zero"] = Field(
        "renormalise",
        description="Smoothing at the ends of a video; zero is the official code's.",
    )
    sigma: Annotated[float, Field(gt=0)] = Field(
        1.5, description="Smoothing in segments where no validation events calibrate it."
    )
    tau: Annotated[float, Field(ge=0, le=1)] = Field(
        0.65, description="Threshold where no validation events calibrate it."
    )
    sigmas: Grid = Field(Grid(first=0.5, last=3.0, count=11), description="Grid of sigma.")
    taus: Grid = Field(Grid(first=0.1, last=0.9, count=81), description="Grid of tau.")


class Method(Section):
    """The part of a method's entry that all kinds share."""

    needs_calibration: ClassVar[bool] = False  # labelled calibration videos of both classes

    kind: str = Field(description="Which method this is; decides the other keys.")
    locator: Locator = Locator()
