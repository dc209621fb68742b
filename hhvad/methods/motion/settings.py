"""The keys of a `kind: motion` method."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from hhvad.methods.settings import Method, Needs

if TYPE_CHECKING:
    from hhvad.study import Study


class Motion(Method):
    """How much neighbouring frames differ: the baseline that needs no model and no labels."""

    kind: Literal["motion"] = Field(description="`motion`.")
    quantile: Annotated[float, Field(gt=0, le=1)] = Field(
        0.99,
        description="The share of the calibration videos' segments whose motion lies below a score "
        "of 1.",
    )

    @property
    def needs(self) -> Needs:
        """Videos to scale by, without labels."""
        return Needs(training="a scale, on calibration videos")

    def jobs(self, name: str, study: Study) -> list[str]:
        """Motion is measured once for all methods of this kind."""
        sampled = f"sample_segments/motion/{study.size_name()}"
        return [sampled, "measure_motion", f"score_motion/{name}"]
