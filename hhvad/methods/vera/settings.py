"""The keys of a `kind: vera` method, and its file of questions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, model_validator

from hhvad.config import Count, Id, Section, Seed, Text
from hhvad.methods.settings import Method, Needs, vector_jobs

if TYPE_CHECKING:
    from hhvad.study import Study

PLACE = "{questions}"


class Window(Section):
    """The frames around each centre."""

    frames: Count = Field(300, description="Length of a window in frames, half on either side.")
    samples: Annotated[int, Field(ge=1, le=256)] = Field(
        8, description="Frames of it that the model sees."
    )


class Neighbours(Section):
    """Similar windows of the same video, which correct a window's score."""

    share: Annotated[float, Field(gt=0, le=1)] = Field(
        0.15, description="The share of a video's windows that count as similar."
    )
    temperature: Annotated[float, Field(gt=0)] = Field(
        0.1, description="Of the softmax over cosines."
    )


class Smoothing(Section):
    """A Gaussian over neighbouring windows, before the locator's own."""

    points: Count = Field(15, description="Windows that the kernel covers.")
    sigma: Annotated[float, Field(gt=0)] = Field(10, description="Its sigma, in windows.")


class Learn(Section):
    """How the model itself writes better questions, from labelled videos."""

    steps: Count = Field(10, description="Tries, each on a normal and an anomalous video.")
    seed: Seed = Field(0, description="Decides which videos.")
    max_tokens: Count = Field(160, description="Tokens of what the model writes in a try.")


class Vera(Method):
    """VERA: a model answers guiding questions about the window around every centre."""

    kind: Literal["vera"] = Field(description="`vera`.")
    model: Id = Field(description="Name of the multimodal model in `models`.")
    encoder: Id | None = Field(
        None,
        description="Name of the encoder in `models` whose vectors tell which windows are alike; "
        "without one, no window corrects another.",
    )
    questions: str = Field(
        "config/questions-vera.yaml", description="File of the guiding questions."
    )
    learn: Learn | None = Field(
        None,
        description="Learn better questions from these on calibration and validation videos "
        "({steps: ..., seed: ...}); null keeps them.",
    )
    stride: Count = Field(16, description="Frames between two centres.")
    window: Window = Window()
    neighbours: Neighbours = Neighbours()
    smoothing: Smoothing | None = Field(
        Smoothing(), description="Smoothing of the scores; null for none."
    )
    rounded: bool = Field(
        False,
        description="Whether an answer counts as 0 or 1 (the paper), and not as its probability.",
    )
    position_weight: bool = Field(
        False,
        description="Whether scores fall off from the middle of a video to its ends (the paper): "
        "that says where events lie in a data set, not what is seen.",
    )

    @property
    def asks(self) -> dict[str, str]:
        """Its model, and its encoder where it has one."""
        encoder = {} if self.encoder is None else {"encoder": self.encoder}
        return {"model": self.model, **encoder}

    @property
    def view(self) -> str:
        """Names its windows by all that decides which frames these are."""
        return f"{self.stride}-{self.window.frames}-{self.window.samples}"

    @property
    def needs(self) -> Needs:
        """No labels and no training, where people wrote the questions."""
        if self.learn:
            return Needs("of calibration and validation videos", "questions", "guiding questions")
        return Needs(wordings="guiding questions")

    def jobs(self, name: str, study: Study) -> list[str]:
        """An answer about each window; vectors of frames for what is alike."""
        found = [
            f"sample_around/{self.view}/vera.{name}/{study.size_name(self.model)}",
            f"answer_guided/{self.model}/{name}",
            f"score_vera/{name}",
        ]
        if self.learn:
            found += [f"sample_frames/{study.size_name(self.model)}", f"learn_questions/{name}"]
        return found + (vector_jobs(study, self.encoder, self.stride) if self.encoder else [])


class Questions(Section):
    """A file of guiding questions."""

    ask: Text = Field(description="What the model is asked; `{questions}` stands for the list.")
    questions: Annotated[tuple[Text, ...], Field(min_length=1, max_length=5)] = Field(
        description="One to five questions that guide its look."
    )
    answers: tuple[Text, Text] = Field(
        ("0", "1"), description="The two answers that are weighed; the score is of the second."
    )
    system: str = Field("", description="System message; empty for none.")

    @model_validator(mode="after")
    def _has_place(self) -> Questions:
        if self.ask.count(PLACE) != 1:
            raise ValueError(f"ask must hold {PLACE} once, where the list of questions stands")
        if self.answers[0] == self.answers[1]:
            raise ValueError(f"answers are both {self.answers[0]!r}; give two different ones")
        return self

    @property
    def listed(self) -> str:
        """The guiding questions, numbered, a line each."""
        return "\n".join(f"{number}. {one}" for number, one in enumerate(self.questions, start=1))

    @property
    def text(self) -> str:
        """The whole question."""
        return self.ask.replace(PLACE, self.listed)
