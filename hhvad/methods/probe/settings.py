"""The keys of a `kind: probe` method."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, model_validator

from hhvad.config import Id, Text
from hhvad.methods.settings import Method, Needs

if TYPE_CHECKING:
    from hhvad.study import Study

PLACE = "{threshold}"


class Probe(Method):
    """Probe-VAD: how likely a model says that an anomaly is at least so severe."""

    kind: Literal["probe"] = Field(description="`probe`.")
    model: Id = Field(description="Name of the multimodal model in `models`.")
    question: Text = Field(
        "Rate from 0 (everyday life) to 1 (certainly an accident, a crime or a danger) what "
        "happens in this video. Is it at least {threshold}? Answer Yes or No.",
        description="What is asked about each segment; `{threshold}` stands for each of "
        "`thresholds`.",
    )
    thresholds: Annotated[tuple[Annotated[float, Field(gt=0, le=1)], ...], Field(min_length=1)] = (
        Field(
            (0.5,),
            description="A question each; the score is the mean of their probabilities. The paper: "
            "0.1 to 1.0 in ten steps, of which one is nearly as good.",
        )
    )
    answers: tuple[Text, Text] = Field(
        ("No", "Yes"), description="The two answers that are weighed; the score is of the second."
    )
    system: str = Field("", description="System message before the question; empty for none.")
    sigma: Annotated[float, Field(gt=0)] | None = Field(
        None,
        description="Gaussian smoothing of the scores in segments, before the locator's own (the "
        "paper: 10); by default none.",
    )

    @model_validator(mode="after")
    def _questions_differ(self) -> Probe:
        if len(set(self.questions)) < len(self.questions):
            raise ValueError(
                f"question reads the same for several thresholds: put {PLACE} into it, name each "
                "threshold once, or name only one"
            )
        if self.answers[0] == self.answers[1]:
            raise ValueError(f"answers are both {self.answers[0]!r}; give two different ones")
        return self

    @property
    def asks(self) -> dict[str, str]:
        """Its model."""
        return {"model": self.model}

    @property
    def needs(self) -> Needs:
        """No labels and no training."""
        count = len(self.thresholds)
        return Needs(wordings=f"{count} question{'s' * (count > 1)} with answers")

    def jobs(self, name: str, study: Study) -> list[str]:
        """A question to each segment."""
        return [
            f"sample_segments/probe.{name}/{study.size_name(self.model)}",
            f"answer_questions/{self.model}/{name}",
            f"score_probe/{name}",
        ]

    @property
    def questions(self) -> tuple[str, ...]:
        """The question at each threshold."""
        return tuple(self.question.replace(PLACE, f"{value:g}") for value in self.thresholds)
