"""The families of multimodal LLMs that can be captured, each one small adapter.

An adapter is named here by a string and imported when a checkpoint of its `model_type` is loaded.
docs/adapters.md shows how to write one; a package outside this one offers its adapters as entry
points of the group `hhvad.backbones`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from hhvad.errors import ArtifactError, ModelError
from hhvad.files import read_json

BACKBONES: dict[str, str] = {
    "internvl": "hhvad.mllm.backbones.internvl:InternVL",
    "llava_onevision": "hhvad.mllm.backbones.llava_onevision:LlavaOnevision",
    "qwen2_5_vl": "hhvad.mllm.backbones.qwen2_5_vl:Qwen25VL",
    "qwen3_vl": "hhvad.mllm.backbones.qwen3_vl:Qwen3VL",
}

HINTS = {"internvl_chat": "Take the checkpoint of the same name that ends in -hf"}


def find(model_type: str) -> type[Backbone]:
    """The adapter of an architecture; ModelError lists the known ones where there is none."""
    known = BACKBONES | {e.name: e.value for e in entry_points(group="hhvad.backbones")}
    if model_type not in known:
        raise ModelError(
            f"architecture {model_type!r} is not supported; known are {', '.join(sorted(known))}. "
            + HINTS.get(model_type, "docs/adapters.md shows how to write an adapter")
        )
    module, _, name = known[model_type].partition(":")
    adapter: type[Backbone] = getattr(import_module(module), name)
    return adapter


@dataclass(frozen=True)
class Pixels:
    """How a checkpoint wants its pixels: (value * scale - mean) / std, and at what size."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    scale: float
    size: tuple[int, int] | None  # (height, width), None where the checkpoint takes any

    @classmethod
    def read(cls, folder: Path, kind: Literal["image", "video"] = "image") -> Pixels:
        """The settings for images or for videos, from wherever the checkpoint keeps them.

        Where it has none of that kind, those of the other, as transformers does.
        """
        places: list[tuple[str, str | None]] = []
        for which in ("image", "video") if kind == "image" else ("video", "image"):
            own = "preprocessor_config.json"
            places.append((own if which == "image" else f"video_{own}", None))
            places.append(("processor_config.json", f"{which}_processor"))
        for name, key in places:
            if not (folder / name).is_file():
                continue
            data = read_object(folder / name)
            settings = data.get(key) if key else data
            if settings:
                return cls._parse(folder / name, settings)
        raise ModelError(f"{folder}: preprocessor_config.json is absent; download the model again")

    @classmethod
    def _parse(cls, path: Path, settings: Mapping[str, Any]) -> Pixels:
        mean, std = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
        if settings.get("do_normalize", True):
            try:
                mean, std = tuple(settings["image_mean"]), tuple(settings["image_std"])
            except KeyError as error:
                raise ModelError(f"{path}: {error.args[0]} is absent") from None
        scale = settings.get("rescale_factor", 1 / 255) if settings.get("do_rescale", True) else 1.0
        size = settings.get("size")
        if isinstance(size, Mapping):
            size = (size["height"], size["width"]) if "height" in size and "width" in size else None
        elif isinstance(size, int):
            size = (size, size)
        return cls(mean, std, float(scale), size)

    def __call__(self, frames: Tensor, dtype: torch.dtype) -> Tensor:
        """Frames uint8 [B, F, H, W, 3] to normalised values [B, F, 3, H, W], where they are."""
        values = frames.permute(0, 1, 4, 2, 3).to(torch.float32)
        mean = torch.tensor(self.mean, device=values.device)[:, None, None]
        std = torch.tensor(self.std, device=values.device)[:, None, None]
        return values.mul_(self.scale).sub_(mean).div_(std).to(dtype)


def read_object(path: Path) -> dict[str, Any]:
    """A JSON object of a checkpoint; ModelError where it is none."""
    try:
        data = read_json(path)
    except ArtifactError as error:
        raise ModelError(str(error)) from error
    if not isinstance(data, dict):
        raise ModelError(f"{path}: not a JSON object")
    return data


@dataclass(frozen=True)
class Told:
    """What the text says of a segment's frames, where a family's text says anything.

    seconds: when each frame is shown, from the start of the segment; empty: unknown. outer_marks:
    whether the marks that the chat template puts around a video stay around the frames' own.
    """

    seconds: tuple[float, ...] = ()
    outer_marks: bool = False


@dataclass
class Vision:
    """What the vision side makes of a batch: `embeds` [B, N, hidden], N tokens a segment.

    `extra` is for an adapter's own use between `encode` and `prefix`.
    """

    embeds: Tensor
    extra: Any = None


class Backbone(ABC):
    """What the engine has to know of one family; everything else it takes from the config.

    model: the transformers base model (without lm_head); config: its config; tokenizer: its
    tokenizer; pixels: its preprocessing. One segment is shown as one video of F frames.
    """

    model_class: ClassVar[str]  # the class in transformers, "...ForConditionalGeneration"
    tells_time: ClassVar[bool] = False  # whether `told_text` depends on what it is told

    def __init__(self, model: nn.Module, config: Any, tokenizer: Any, pixels: Pixels) -> None:
        self.model = model
        self.config = config
        self.tokenizer = tokenizer
        self.pixels = pixels

    @property
    def decoder(self) -> nn.Module:
        """The text decoder: takes inputs_embeds, has `layers.N.self_attn.o_proj`."""
        decoder: nn.Module = self.model.language_model  # type: ignore[assignment]
        return decoder

    @property
    def frame_size(self) -> tuple[int, int] | None:
        """(height, width) that frames must have, None where check_size decides."""
        return self.pixels.size

    @property
    def smallest_size(self) -> tuple[int, int]:
        """The smallest (height, width) of frames; to be given where frame_size is None."""
        if self.frame_size is None:
            raise NotImplementedError(f"{type(self).__name__} needs a smallest_size")
        return self.frame_size

    @property
    @abstractmethod
    def video_token(self) -> str:
        """What the chat template writes where a video goes; replaced by `frames_text`."""

    @property
    @abstractmethod
    def visual_token_id(self) -> int:
        """The token whose embeddings are replaced by the vision encoder's."""

    @property
    def visual_token(self) -> str:
        """The same token as text."""
        token: str = self.tokenizer.convert_ids_to_tokens(self.visual_token_id)
        return token

    def check_size(self, height: int, width: int) -> None:
        """ModelError where frames of this size do not suit the model."""
        if self.frame_size is not None and (height, width) != self.frame_size:
            raise ModelError(
                f"frames are {height}x{width}, the model wants {self.frame_size[0]}x"
                f"{self.frame_size[1]} (height x width): set sampling.size in the config"
            )

    @abstractmethod
    def tokens(self, frames: int, height: int, width: int) -> int:
        """How many visual tokens a segment of this many frames of this size has."""

    @abstractmethod
    def frames_text(self, frames: int, height: int, width: int) -> str:
        """The text that stands for the frames, one `visual_token` a visual token."""

    def told_text(self, frames: int, height: int, width: int, told: Told) -> str:
        """`frames_text` of a segment of which this is known."""
        return self.frames_text(frames, height, width)

    @abstractmethod
    def encode(self, pixels: Tensor) -> Vision:
        """Normalised pixels [B, F, 3, H, W] to the embeddings of the visual tokens."""

    def class_vectors(self, pixels: Tensor) -> Tensor:
        """The vision encoder's class vectors [G, D] of normalised pixels [G, 3, H, W]."""
        raise ModelError(f"{type(self).__name__}: its vision encoder has no class token")

    def positions(self, ids: Tensor, frames: int, height: int, width: int) -> Tensor:
        """Position ids of token ids [T], as the decoder takes them: [1, T] or [3, 1, T]."""
        return torch.arange(len(ids))[None]

    def embed(self, ids: Tensor, batch: int) -> Tensor:
        """The embeddings [batch, T, hidden] of text token ids [T]."""
        embeds: Tensor = self.decoder.get_input_embeddings()(ids)  # type: ignore[operator]
        return embeds.expand(batch, -1, -1)

    def prefix(self, ids: Tensor, vision: Vision) -> dict[str, Any]:
        """The decoder's inputs for token ids [T] with the visual tokens filled in."""
        embeds = self.embed(ids, len(vision.embeds)).clone()
        embeds[:, ids == self.visual_token_id] = vision.embeds.to(embeds.dtype)
        return {"inputs_embeds": embeds}
