"""The keys of a `kind: scorer` method."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from hhvad.config import Count, Id
from hhvad.methods.settings import Method, Needs

if TYPE_CHECKING:
    from hhvad.study import Study


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

    @property
    def needs(self) -> Needs:
        """A scorer that somebody trained on labelled videos."""
        return Needs("of training videos, by others", "a network, by others")

    def jobs(self, name: str, study: Study) -> list[str]:
        """Class vectors of frames."""
        return [
            f"sample_grid/{self.stride}/class.{self.model}/{study.fitted_size(self.model)}",
            f"embed_class_tokens/{self.model}/class{self.stride}",
            f"score_vectors/{name}",
        ]
