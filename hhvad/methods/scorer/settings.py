"""The keys of a `kind: scorer` method."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, model_validator

from hhvad.config import Count, Id, Section, Seed
from hhvad.methods.settings import Method, Needs

if TYPE_CHECKING:
    from hhvad.study import Study


class Train(Section):
    """How the head is trained here, on calibration videos: a reconstruction after UR-DMU."""

    steps: Count = Field(3000, description="Steps of Adam.")
    batch: Count = Field(64, description="Normal and as many anomalous videos a step.")
    snippets: Count = Field(200, description="Stretches that a video is averaged over.")
    hidden: Annotated[int, Field(ge=4, multiple_of=4)] = Field(
        512, description="Width of the head; 64 on a CPU."
    )
    memory: Count = Field(60, description="Patterns of each memory; 8 on a CPU.")
    rate: Annotated[float, Field(gt=0)] = Field(1e-4, description="Learning rate.")
    decay: Annotated[float, Field(ge=0)] = Field(5e-5, description="Weight decay.")
    dropout: Annotated[float, Field(ge=0, lt=1)] = Field(0.5, description="In the attention.")
    seed: Seed = Field(0, description="Of the start, the batches and the dropout.")


class Scorer(Method):
    """Holmes-VAU's trained scorer: a UR-DMU head on class vectors of frames."""

    kind: Literal["scorer"] = Field(description="`scorer`.")
    model: Id = Field(description="Name in `models` of the multimodal model whose encoder looks.")
    weights: Annotated[str, Field(min_length=1)] | None = Field(
        None, description="Safetensors file of the head, from `hhvad convert-scorer`."
    )
    train: Train | None = Field(
        None,
        description="Train the head on calibration videos in place of `weights`: `{}` for the "
        "defaults, or {steps: ..., hidden: ...}.",
    )
    stride: Count = Field(16, description="Frames between two scores.")

    @model_validator(mode="after")
    def _has_one_head(self) -> Self:
        if (self.weights is None) == (self.train is None):
            raise ValueError("give `weights` of a trained head, or `train` to train one")
        return self

    @property
    def asks(self) -> dict[str, str]:
        """The model whose vision encoder looks."""
        return {"model": self.model}

    @property
    def needs(self) -> Needs:
        """A scorer that somebody trained on labelled videos, or one that is trained here."""
        if self.train:
            return Needs("of calibration videos", "a network")
        return Needs("of training videos, by others", "a network, by others")

    def jobs(self, name: str, study: Study) -> list[str]:
        """Class vectors of frames."""
        return [
            *([f"train_scorer/{name}"] if self.train else []),
            f"sample_grid/{self.stride}/class.{self.model}/{study.fitted_size(self.model)}",
            f"embed_class_tokens/{self.model}/class{self.stride}",
            f"score_vectors/{name}",
        ]
