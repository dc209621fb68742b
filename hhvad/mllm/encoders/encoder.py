"""Encoders of the CLIP kind: frames and texts to unit vectors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hhvad.errors import ModelError
from hhvad.mllm.backbones.backbone import Pixels
from hhvad.mllm.weights import computes

# How texts are padded: None leaves them as they are, and equal lengths run together.
ENCODERS: dict[str, str | None] = {
    "clip": None,
    "metaclip_2": None,
    "siglip": "max_length",  # trained with padding; SigLIP 2 of a fixed size, too
}

Progress = Callable[[int, int], None] | None


class Encoder:
    """A loaded encoder; `info` is as of a text decoder (hhvad.mllm.load)."""

    def __init__(self, model: Any, tokenizer: Any, pixels: Pixels, info: Any) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.pixels = pixels
        self.info = info

    def __str__(self) -> str:
        return f"{self.info.architecture}, {computes(self.info)}"

    def embed_frames(
        self, frames: NDArray[np.uint8], *, batch_size: int, progress: Progress = None
    ) -> NDArray[np.float32]:
        """Unit vectors [G, D] of frames [G, H, W, 3]. Raises ModelError for frames of a wrong size.

        Frames run in their order, batch_size at a time.
        """
        side = getattr(self.model.config.vision_config, "image_size", None)
        if side is not None and frames.shape[1:3] != (side, side):
            raise ModelError(
                f"frames are {frames.shape[1]}x{frames.shape[2]}, {self.info.architecture} wants "
                f"{side}x{side}: sample them at that size"
            )
        found = []
        with torch.inference_mode():
            for start in range(0, len(frames), batch_size):
                block = torch.from_numpy(np.ascontiguousarray(frames[start : start + batch_size]))
                values = self.pixels(block.to(self.model.device)[None], self.model.dtype)[0]
                found.append(_unit(self.model.get_image_features(pixel_values=values)))
                if progress is not None:
                    progress(min(start + batch_size, len(frames)), len(frames))
        return np.concatenate(found)

    def embed_texts(
        self, texts: Sequence[str], *, batch_size: int, progress: Progress = None
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Unit vectors [N, D] of texts, and which of them were cut at the encoder's limit [N].

        A special token in a text is read as its characters.
        """
        limit = self.model.config.text_config.max_position_embeddings
        padding = ENCODERS[self.info.architecture]
        rows, cut = [], []
        for text in texts:
            given = self.tokenizer(text, split_special_tokens=True)["input_ids"]
            cut.append(len(given) > limit)
            rows.append(
                self.tokenizer(
                    text,
                    split_special_tokens=True,
                    truncation=True,
                    max_length=limit,
                    padding=padding or False,
                )["input_ids"]
            )
        groups: dict[int, list[int]] = {}
        for number, ids in enumerate(rows):
            groups.setdefault(len(ids), []).append(number)
        found: dict[int, NDArray[np.float32]] = {}
        with torch.inference_mode():
            for group in groups.values():
                for start in range(0, len(group), batch_size):
                    batch = group[start : start + batch_size]
                    ids = torch.tensor([rows[n] for n in batch], device=self.model.device)
                    vectors = _unit(self.model.get_text_features(input_ids=ids))
                    found |= dict(zip(batch, vectors, strict=True))
                    if progress is not None:
                        progress(len(found), len(rows))
        return np.stack([found[number] for number in range(len(rows))]), np.array(cut)


def _unit(output: Any) -> NDArray[np.float32]:
    values: Tensor = output if isinstance(output, Tensor) else output.pooler_output
    unit: NDArray[np.float32] = nn.functional.normalize(values.float(), dim=-1).cpu().numpy()
    return unit
