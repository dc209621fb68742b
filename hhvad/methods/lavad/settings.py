"""The keys of a `kind: lavad` method, the presets that give their defaults, and its wordings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, model_validator

from hhvad.config import Count, Id, Section, Seed, Text
from hhvad.methods.settings import Method, Needs, take_preset, vector_jobs

if TYPE_CHECKING:
    from hhvad.study import Study

PRESETS: dict[str, dict[str, Any]] = {
    "native": {},
    "paper": {
        "caption": {"prompt": "", "max_tokens": 20},
        "window": {"frames": "exact", "vector": "ends"},
        "neighbours": {"among": "summaries", "count": 10, "temperature": 1.0},
        "answers": {"temperature": 0.6, "top_p": 0.9},
    },
    "demo": {
        "caption": {"prompt": "what happens here?", "frames_shown": 8, "keep": "after-colon"},
        "window": {"seconds": 4.0, "samples": 8},
    },
}


class Caption(Section):
    """What a captioner is shown and asked, and what is kept."""

    id: Id = Field(
        "caption",
        description="Names the captions: methods with the same captioner, stride and id share "
        "them.",
    )
    prompt: str = Field(
        "Describe this picture in one sentence.",
        description="What the captioner is asked; empty for BLIP-2, which captions unasked.",
    )
    frames_shown: Count = Field(1, description="How many times the one frame is shown.")
    keep: Literal["all", "after-colon"] = Field(
        "all", description="after-colon drops a verdict before the caption."
    )
    max_tokens: Count = Field(64, description="Tokens of the longest caption.")


class Window(Section):
    """The frames around each centre."""

    seconds: Annotated[float, Field(gt=0)] = Field(10.0, description="T, length of a window.")
    samples: Count = Field(10, description="N, frames that stand for it.")
    frames: Literal["grid", "exact"] = Field(
        "grid",
        description="Which frames: multiples of the stride, so that one picture is embedded per "
        "stride; or any (the paper), up to N per stride.",
    )
    vector: Literal["mean", "ends"] = Field(
        "mean",
        description="The vector of a window: the mean of its frames' vectors, or of its first and "
        "last frame's (the paper).",
    )


class Neighbours(Section):
    """Whose scores correct a window's score."""

    among: Literal["windows", "summaries", "none"] = Field(
        "windows", description="Similar windows, similar summaries (the paper), or none."
    )
    count: Count = Field(10, description="K, among summaries.")
    share: Annotated[float, Field(gt=0, le=1)] = Field(
        0.15, description="The share of a video's windows, among windows."
    )
    temperature: Annotated[float, Field(gt=0)] = Field(
        0.1, description="Of the softmax over cosines; 1 is the official code's."
    )


class Answers(Section):
    """How the LLM answers."""

    max_tokens: Count = Field(128, description="Tokens of the longest answer.")
    temperature: Annotated[float, Field(ge=0)] = Field(
        0,
        description="0 takes the likeliest token. Above, answers are sampled, one per window (the "
        "paper: 0.6).",
    )
    top_p: Annotated[float, Field(gt=0, le=1)] = Field(
        0.9, description="Sampling draws from the likeliest tokens of this probability together."
    )
    seed: Seed = Field(1, description="Of sampling; with it, the same bytes come again.")
    number: Literal["written", "expected"] = Field(
        "written",
        description="How a summary gets its number: the LLM writes it, or it is the mean of 0, "
        "0.1, ..., 1, weighed by how likely each is as the LLM's answer.",
    )


class Lavad(Method):
    """LAVAD: an LLM sums up and rates captions; similar windows correct each other."""

    kind: Literal["lavad"] = Field(description="`lavad`.")
    preset: Literal["native", "paper", "demo"] = Field(
        "native",
        description="Which defaults the other keys take: `native` for the model that also answers "
        "other methods, `paper` for the paper's choices, `demo` for the demo's models.",
    )
    captioner: Id | Annotated[tuple[Id, ...], Field(min_length=1)] = Field(
        description="Name of the captioner in `models`, or of several."
    )
    llm: Id = Field(description="Name of the LLM in `models`; an MLLM answers by its text part.")
    encoder: Id = Field(description="Name of the image-text encoder in `models`.")
    prompts: str = Field("config/prompts-lavad.yaml", description="File of the wordings.")
    rating: Id = Field("rate-any", description="Which of the file's `ratings` asks for the number.")
    stride: Count = Field(16, description="Frames between two centres, which are captioned.")
    fps: Annotated[float, Field(gt=0)] | None = Field(
        None, description="Frames per second of every video; by default what each has."
    )
    caption: Caption = Caption()
    window: Window = Window()
    neighbours: Neighbours = Neighbours()
    answers: Answers = Answers()

    @model_validator(mode="before")
    @classmethod
    def _take_preset(cls, data: Any) -> Any:
        return take_preset(data, PRESETS)

    @property
    def exact_frames(self) -> str | None:
        """Names the frames of exact windows by all that decides which these are; None on a grid."""
        if self.window.frames == "grid":
            return None
        rate = "" if self.fps is None else f"-{self.fps:g}fps"
        window = self.window
        return f"windows{self.stride}-{window.seconds:g}s-{window.samples}{rate}"

    @property
    def captioners(self) -> tuple[str, ...]:
        """The captioners in their order: of two that say the same, the first counts."""
        return (self.captioner,) if isinstance(self.captioner, str) else self.captioner

    @property
    def asks(self) -> dict[str, str]:
        """Its captioners, LLM and encoder."""
        captioners = {f"captioner.{n}": name for n, name in enumerate(self.captioners)}
        if isinstance(self.captioner, str):
            captioners = {"captioner": self.captioner}
        return {**captioners, "llm": self.llm, "encoder": self.encoder}

    @property
    def needs(self) -> Needs:
        """No labels and no training."""
        return Needs(wordings="for captions, summaries and ratings")

    def jobs(self, name: str, study: Study) -> list[str]:
        """Captions, their vectors and those of frames, summaries and ratings."""
        found = []
        for captioner in self.captioners:
            of_captions = f"{captioner}/grid{self.stride}/{self.caption.id}"
            reader = f"captions.{captioner}.{self.caption.id}"
            found += [
                f"sample_grid/{self.stride}/{reader}/{study.fitted_size(captioner)}",
                f"caption_frames/{of_captions}",
                f"embed_texts/{self.encoder}/captions/{of_captions}",
            ]
        found += vector_jobs(study, self.encoder, self.stride, self.exact_frames)
        if self.neighbours.among == "summaries":
            found += [f"embed_texts/{self.encoder}/summaries/{name}"]
        found += [
            f"complete_texts/{self.llm}/{name}/{question}" for question in ("summary", "rating")
        ]
        rules = ("clean_captions", "ask_summaries", "read_summaries", "ask_ratings", "read_ratings")
        return [*found, *(f"{rule}/{name}" for rule in (*rules, "refine_scores"))]


class Wordings(Section):
    """A file of wordings: what LAVAD asks its LLM."""

    summarise: Text = Field(description="System message of a window's captions.")
    ratings: dict[Id, Text] = Field(
        description="System messages of a summary: what the number means."
    )
    format: Text = Field(
        description="Stands behind the chosen one of `ratings`: how to write the number."
    )
