"""The keys of a `kind: lavad` method, and the presets that give their defaults."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from hhvad.config import Section
from hhvad.methods.settings import Method

PRESETS: dict[str, dict[str, Any]] = {
    "native": {},
    "paper": {
        "caption": {"prompt": ""},
        "window": {"on": "exact", "vector": "ends"},
        "neighbours": {"among": "summaries", "count": 10, "temperature": 1.0},
        "decoding": {"temperature": 0.6, "top_p": 0.9},
    },
    "demo": {
        "caption": {"prompt": "what happens here?", "frames_shown": 8, "keep": "after-colon"},
        "window": {"seconds": 4.0, "samples": 8},
    },
}


class Caption(Section):
    """What a captioner is shown and asked, and what is kept."""

    prompt: str = Field("Describe this picture in one sentence.", description="Empty for none.")
    frames_shown: Annotated[int, Field(ge=1)] = Field(
        1, description="How many times the one frame is shown."
    )
    keep: Literal["all", "after-colon"] = Field(
        "all", description="after-colon drops a verdict before the caption."
    )
    max_tokens: Annotated[int, Field(ge=1)] = Field(64, description="Longest caption.")


class Window(Section):
    """The frames around each centre."""

    seconds: Annotated[float, Field(gt=0)] = Field(10.0, description="T, length of a window.")
    samples: Annotated[int, Field(ge=1)] = Field(10, description="N, frames that stand for it.")
    on: Literal["grid", "exact"] = Field(
        "grid",
        description="grid samples among multiples of the stride; exact is the official code's.",
    )
    vector: Literal["mean", "ends"] = Field(
        "mean",
        description="mean of unit frame vectors; ends: of the mean picture of first and last.",
    )


class Neighbours(Section):
    """Whose scores correct a window's score."""

    among: Literal["windows", "summaries", "none"] = Field(
        "windows", description="Similar windows, similar summaries (the paper), or none."
    )
    count: Annotated[int, Field(ge=1)] = Field(10, description="K, among summaries.")
    share: Annotated[float, Field(gt=0, le=1)] = Field(
        0.15, description="The share of a video's windows, among windows."
    )
    temperature: Annotated[float, Field(gt=0)] = Field(
        0.1, description="Of the softmax over cosines; 1 is the official code's."
    )


class Decoding(Section):
    """How the LLM answers. Temperature 0 is greedy."""

    temperature: Annotated[float, Field(ge=0)] = Field(0.0, description="0 for greedy.")
    top_p: Annotated[float, Field(gt=0, le=1)] = Field(1.0, description="Share kept in sampling.")
    seed: Annotated[int, Field(ge=0)] = Field(0, description="Of sampling.")
    max_tokens: Annotated[int, Field(ge=1)] = Field(128, description="Longest answer.")


class Lavad(Method):
    """An LLM sums up and rates captions; similar windows correct each other."""

    kind: Literal["lavad"] = Field(description="`lavad`.")
    preset: Literal["native", "paper", "demo"] = Field(
        "native", description="Which defaults the other keys take."
    )
    captioner: str | tuple[str, ...] = Field(
        description="Name of the captioner in `models`, or of several."
    )
    llm: str = Field(description="Name of the LLM in `models`; an MLLM answers by its text part.")
    encoder: str = Field(description="Name of the image-text encoder in `models`.")
    prompts: str = Field("config/prompts-lavad.yaml", description="File of the wordings.")
    rating: Literal["rate-ucf", "rate-xd", "rate-any"] = Field(
        "rate-any", description="Which wording of that file asks for the number."
    )
    stride: Annotated[int, Field(ge=1)] = Field(16, description="Frames between two centres.")
    fps: Annotated[float, Field(gt=0)] | None = Field(
        None, description="Frames per second of every video; by default what each has."
    )
    caption: Caption = Caption()
    window: Window = Window()
    neighbours: Neighbours = Neighbours()
    decoding: Decoding = Decoding()
    read_out: Literal["text", "expected"] = Field(
        "text",
        description="text reads the number; expected weighs the eleven by their probability.",
    )

    @model_validator(mode="before")
    @classmethod
    def _take_preset(cls, data: Any) -> Any:
        """Complete the sections that the preset has other defaults for."""
        if not isinstance(data, dict) or data.get("preset", "native") not in PRESETS:
            return data
        full = dict(data)
        for section, values in PRESETS[data.get("preset", "native")].items():
            given = full.get(section, {})
            full[section] = {**values, **given} if isinstance(given, dict) else given
        return full
