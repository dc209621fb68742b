"""The keys of a `kind: scorer` method."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from hhvad.config import Count, Id
from hhvad.methods.settings import Method


class Scorer(Method):
    """Holmes-VAU's trained scorer: a UR-DMU head on class vectors of frames."""

    kind: Literal["scorer"] = Field(description="`scorer`.")
    model: Id = Field(description="Name in `models` of the multimodal model whose encoder looks.")
    weights: Annotated[str, Field(min_length=1)] = Field(
        description="Safetensors file of the head, from `hhvad convert-scorer`."
    )
    stride: Count = Field(16, description="Frames between two scores.")

    @property
    def asks(self) -> dict[str, str]:
        """The model whose vision encoder looks."""
        return {"model": self.model}
