"""The keys of a `kind: zero-shot` method."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from hhvad.config import Count, Id, Section, Text
from hhvad.methods.settings import Method, Needs, vector_jobs

if TYPE_CHECKING:
    from hhvad.study import Study


class Phrases(Section):
    """What pictures are compared with."""

    normal: Annotated[tuple[Text, ...], Field(min_length=1)] = Field(
        description="Phrases of ordinary life."
    )
    anomalous: Annotated[tuple[Text, ...], Field(min_length=1)] = Field(
        description="Phrases of anomalies; a score is their share."
    )


class ZeroShot(Method):
    """How near pictures are to phrases of anomalies, told by an image-text encoder."""

    kind: Literal["zero-shot"] = Field(description="`zero-shot`.")
    encoder: Id = Field(description="Name of the encoder in `models`.")
    phrases: Phrases
    stride: Count = Field(16, description="Frames between two scores.")
    temperature: Annotated[float, Field(gt=0)] = Field(
        0.01, description="Of the softmax over phrases."
    )

    @property
    def asks(self) -> dict[str, str]:
        """Its encoder."""
        return {"encoder": self.encoder}

    @property
    def needs(self) -> Needs:
        """No labels and no training."""
        phrases = [*self.phrases.normal, *self.phrases.anomalous]
        return Needs(wordings=f"{len(phrases)} phrases")

    def jobs(self, name: str, study: Study) -> list[str]:
        """Vectors of frames and of the phrases."""
        return [
            *vector_jobs(study, self.encoder, self.stride),
            f"write_phrases/{name}",
            f"embed_texts/{self.encoder}/phrases/{name}",
            f"score_zero_shot/{name}",
        ]
