"""The keys of a `kind: motion` method."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from hhvad.methods.settings import Method


class Motion(Method):
    """How much neighbouring frames differ: the baseline that needs no model and no labels."""

    kind: Literal["motion"] = Field(description="`motion`.")
    quantile: Annotated[float, Field(gt=0, le=1)] = Field(
        0.99,
        description="The share of the calibration videos' segments whose motion lies below a score "
        "of 1.",
    )
