"""Encoders of the CLIP kind: frames and texts to unit vectors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hhvad.errors import ModelError
from hhvad.mllm.backbones.backbone import Pixels
from hhvad.mllm.weights import computes


class Family(NamedTuple):
    """What differs between encoders of one `model_type` and another.

    sees: pictures of the encoder's size; patches of pictures of any size; or clips, to which a
    frame is shown as a still of as many frames as a clip has.
    is_padded: texts are padded to the longest that it reads, as in its training. Others stay as
    they are, and equal lengths run together. hides_padding: and the padding is masked. attention:
    how transformers computes it.
    """

    sees: Literal["pictures", "patches", "clips"] = "pictures"
    is_padded: bool = False
    hides_padding: bool = False
    attention: Literal["sdpa", "eager"] = "sdpa"


ENCODERS = {
    "clip": Family(),
    "metaclip_2": Family(),
    "siglip": Family(is_padded=True),  # SigLIP 2 of a fixed size, too
    "siglip2": Family("patches", is_padded=True),  # NaFlex
    "videoprism": Family("clips", is_padded=True, hides_padding=True, attention="eager"),
    "xclip": Family("clips"),
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

    @property
    def family(self) -> Family:
        """What is particular about its architecture."""
        return ENCODERS[self.info.architecture]

    def embed_frames(
        self, frames: NDArray[np.uint8], *, batch_size: int, progress: Progress = None
    ) -> NDArray[np.float32]:
        """Unit vectors [G, D] of frames [G, H, W, 3]. Raises ModelError for frames of a wrong size.

        Frames run in their order, batch_size at a time.
        """
        self._check_size(*frames.shape[1:3])
        found = []
        with torch.inference_mode():
            for start in range(0, len(frames), batch_size):
                block = torch.from_numpy(np.ascontiguousarray(frames[start : start + batch_size]))
                values = self.pixels(block.to(self.model.device)[None], self.model.dtype)[0]
                found.append(_unit(self._see(values)))
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
        padding = "max_length" if self.family.is_padded else False
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
                    padding=padding,
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
                    mask = None
                    if self.family.hides_padding:
                        mask = (ids != self.tokenizer.pad_token_id).long()
                    vectors = _unit(
                        self.model.get_text_features(input_ids=ids, attention_mask=mask)
                    )
                    found |= dict(zip(batch, vectors, strict=True))
                    if progress is not None:
                        progress(len(found), len(rows))
        return np.stack([found[number] for number in range(len(rows))]), np.array(cut)

    def _check_size(self, height: int, width: int) -> None:
        vision = self.model.config.vision_config
        if self.family.sees == "patches":
            patch = vision.patch_size
            fits, wanted = height % patch == width % patch == 0, f"multiples of {patch}"
        else:
            side = vision.image_size
            high, wide = (side, side) if isinstance(side, int) else side
            fits, wanted = (height, width) == (high, wide), f"{high}x{wide}"
        if not fits:
            raise ModelError(
                f"frames are {height}x{width}, {self.info.architecture} wants {wanted}: set the "
                "model's `size` in the config"
            )

    def _see(self, values: Tensor) -> Any:
        """What the model makes of normalised pictures [B, 3, H, W]."""
        vision = self.model.config.vision_config
        if self.family.sees == "pictures":
            return self.model.get_image_features(pixel_values=values)
        if self.family.sees == "clips":
            clips = values[:, None].expand(-1, vision.num_frames, -1, -1, -1)
            name = (
                "pixel_values_videos" if self.info.architecture == "videoprism" else "pixel_values"
            )
            return self.model.get_video_features(**{name: clips})
        count, _, height, width = values.shape
        patch = vision.patch_size
        rows, columns = height // patch, width // patch
        patches = values.reshape(count, 3, rows, patch, columns, patch).permute(0, 2, 4, 3, 5, 1)
        return self.model.get_image_features(
            pixel_values=patches.reshape(count, rows * columns, -1),
            pixel_attention_mask=values.new_ones((count, rows * columns), dtype=torch.int64),
            spatial_shapes=torch.tensor([[rows, columns]] * count, device=values.device),
        )


def _unit(output: Any) -> NDArray[np.float32]:
    values: Tensor = output if isinstance(output, Tensor) else output.pooler_output
    unit: NDArray[np.float32] = (
        nn.functional.normalize(values.float().flatten(1), dim=-1).cpu().numpy()
    )
    return unit
