"""InternVL3 and InternVL3.5 in their native transformers form (checkpoints named `...-hf`)."""

from __future__ import annotations

from torch import Tensor

from hhvad.mllm.backbones.backbone import Backbone, Vision


class InternVL(Backbone):
    """One tile a frame; text `Frame1: <img>...</img>\\nFrame2: ...` (InternVLProcessor's own)."""

    model_class = "InternVLForConditionalGeneration"

    @property
    def video_token(self) -> str:
        """`<video>` in every released checkpoint."""
        return getattr(self.tokenizer, "video_token", None) or "<video>"

    @property
    def visual_token_id(self) -> int:
        """`<IMG_CONTEXT>`."""
        return int(self.config.image_token_id)

    @property
    def frame_size(self) -> tuple[int, int]:
        """The preprocessor's size, or the vision encoder's where it states none."""
        if self.pixels.size is not None:
            return self.pixels.size
        height, width = self.config.vision_config.image_size
        return height, width

    def tokens(self, frames: int, height: int, width: int) -> int:
        """Patches after the pixel shuffle: 256 for a frame of 448x448."""
        rows, columns = self.config.vision_config.patch_size
        patches = (height // rows) * (width // columns)
        return frames * int(patches * self.config.downsample_ratio**2)

    def frames_text(self, frames: int, height: int, width: int) -> str:
        """`Frame1: <img>...</img>`, one line a frame."""
        start = getattr(self.tokenizer, "start_image_token", None) or "<img>"
        end = getattr(self.tokenizer, "end_image_token", None) or "</img>"
        tile = self.visual_token * self.tokens(1, height, width)
        return "\n".join(f"Frame{i}: {start}{tile}{end}" for i in range(1, frames + 1))

    def encode(self, pixels: Tensor) -> Vision:
        """Vision tower, pixel shuffle and projector."""
        batch = len(pixels)
        features = self.model.get_image_features(pixels.flatten(0, 1))  # type: ignore[operator]
        return Vision(features.pooler_output.reshape(batch, -1, features.pooler_output.shape[-1]))

    def class_vectors(self, pixels: Tensor) -> Tensor:
        """The first token of the vision tower's last layer."""
        hidden: Tensor = self.model.vision_tower(pixel_values=pixels).last_hidden_state  # type: ignore[operator]
        return hidden[:, 0]
