"""Qwen2.5-VL: frames of any size in whole patches, two frames a temporal patch, 3-D positions."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from hhvad.errors import ModelError
from hhvad.mllm.backbones.backbone import Backbone, Pixels, Vision
from hhvad.mllm.kernels import STRETCHES


class Qwen25VL(Backbone):
    """One video a segment. Its frames count as two a second, the rate of Qwen's own processor.

    An odd last frame is doubled, as Qwen's video processor does.
    """

    model_class = "Qwen2_5_VLForConditionalGeneration"

    def __init__(self, model: nn.Module, config: Any, tokenizer: Any, pixels: Pixels) -> None:
        super().__init__(model, config, tokenizer, pixels)
        config.vision_config._attn_implementation = STRETCHES

    @property
    def video_token(self) -> str:
        """`<|video_pad|>`."""
        return self.visual_token

    @property
    def visual_token_id(self) -> int:
        """The same token, repeated."""
        return int(self.config.video_token_id)

    @property
    def frame_size(self) -> None:
        """Any size in whole patches."""
        return None

    @property
    def smallest_size(self) -> tuple[int, int]:
        """One merged patch: 28x28."""
        unit = self.config.vision_config.patch_size * self.config.vision_config.spatial_merge_size
        return unit, unit

    def check_size(self, height: int, width: int) -> None:
        """ModelError where a side is not a multiple of a merged patch (28 pixels)."""
        unit = self.smallest_size[0]
        if height % unit or width % unit:
            near = [max(unit, round(side / unit) * unit) for side in (height, width)]
            raise ModelError(
                f"frames are {height}x{width}, the model wants multiples of {unit} (height x "
                f"width), {near[0]}x{near[1]} for instance: set sampling.size in the config"
            )

    def grid(self, frames: int, height: int, width: int) -> list[int]:
        """Patches of a segment before merging: [time, rows, columns]."""
        vision = self.config.vision_config
        steps = -(-frames // vision.temporal_patch_size)
        return [steps, height // vision.patch_size, width // vision.patch_size]

    def tokens(self, frames: int, height: int, width: int) -> int:
        """Merged patches, each of temporal_patch_size frames."""
        steps, rows, columns = self.grid(frames, height, width)
        merge: int = self.config.vision_config.spatial_merge_size
        return steps * rows * columns // merge**2

    def frames_text(self, frames: int, height: int, width: int) -> str:
        """`<|video_pad|>` once a token; the chat template sets the vision marks around them."""
        return self.visual_token * self.tokens(frames, height, width)

    def encode(self, pixels: Tensor) -> Vision:
        """Vision tower and merger."""
        batch, frames, _, height, width = pixels.shape
        grid = torch.tensor([self.grid(frames, height, width)] * batch, device=pixels.device)
        features = self.model.get_video_features(self.patches(pixels), grid)  # type: ignore[operator]
        return Vision(torch.stack(list(features.pooler_output)))

    def patches(self, pixels: Tensor) -> Tensor:
        """Pixels [B, F, 3, H, W] as patches [B * patches, 3 * time * side * side].

        Patches of one merged token lie together (Qwen2VLVideoProcessor.patchify).
        """
        vision = self.config.vision_config
        side, merge, time = vision.patch_size, vision.spatial_merge_size, vision.temporal_patch_size
        odd = -pixels.shape[1] % time
        if odd:
            pixels = torch.cat([pixels, pixels[:, -1:].expand(-1, odd, -1, -1, -1)], dim=1)
        batch, frames, channels, height, width = pixels.shape
        rows, columns = height // side // merge, width // side // merge
        blocks = pixels.reshape(
            batch, frames // time, time, channels, rows, merge, side, columns, merge, side
        )
        blocks = blocks.permute(0, 1, 4, 7, 5, 8, 3, 2, 6, 9)
        return blocks.reshape(-1, channels * time * side * side)

    def positions(self, ids: Tensor, frames: int, height: int, width: int) -> Tensor:
        """Time, height and width positions [3, T] by the model's own rule."""
        grid = torch.tensor([self.grid(frames, height, width)])
        kinds = (ids == self.visual_token_id).int() * 2  # 0 text, 2 video
        found = self.model.get_rope_index(  # type: ignore[operator]
            ids[None], mm_token_type_ids=kinds[None], video_grid_thw=grid
        )
        positions: Tensor = found[0][:, 0]
        return positions
