"""LLaVA-OneVision: frames as one video, pooled two by two, one newline embedding at the end."""

from __future__ import annotations

from torch import Tensor

from hhvad.mllm.backbones.backbone import Backbone, Vision


class LlavaOnevision(Backbone):
    """SigLIP and Qwen2: 196 visual tokens a frame of 384x384."""

    model_class = "LlavaOnevisionForConditionalGeneration"

    @property
    def video_token(self) -> str:
        """`<video>`."""
        return self.visual_token

    @property
    def visual_token_id(self) -> int:
        """The same token, repeated."""
        return int(self.config.video_token_id)

    @property
    def frame_size(self) -> tuple[int, int]:
        """The vision encoder's square."""
        side = self.config.vision_config.image_size
        return side, side

    def tokens(self, frames: int, height: int, width: int) -> int:
        """Patches pooled by 2x2, rounded up, and one newline for the whole video."""
        side: int = self.config.vision_config.image_size // self.config.vision_config.patch_size
        return frames * (-(-side // 2)) ** 2 + 1

    def frames_text(self, frames: int, height: int, width: int) -> str:
        """`<video>` once a token."""
        return self.visual_token * self.tokens(frames, height, width)

    def encode(self, pixels: Tensor) -> Vision:
        """Vision tower, projector, pooling and the newline."""
        return Vision(self.model.get_video_features(pixels).pooler_output)  # type: ignore[operator]
