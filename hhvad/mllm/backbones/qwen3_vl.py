"""Qwen3-VL: as Qwen2.5-VL, with time written into the text and visual features at several depths.

DeepStack adds features of inner vision layers to the first decoder layers' outputs at the visual
tokens; these lie in the prefix, so the prompts need nothing of it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from hhvad.mllm.backbones.backbone import Told, Vision
from hhvad.mllm.backbones.qwen2_5_vl import Qwen25VL

FRAMES_PER_SECOND = 2.0  # what Qwen's video processor samples; for frames of unknown times


class Qwen3VL(Qwen25VL):
    """Each temporal patch is introduced by its time: `<0.2 seconds><|vision_start|>...`."""

    model_class = "Qwen3VLForConditionalGeneration"
    tells_time = True

    @property
    def video_token(self) -> str:
        """The placeholder with the marks around it: every temporal patch brings its own marks."""
        return self._marked(self.visual_token)

    def _marked(self, text: str) -> str:
        marks = self.config.vision_start_token_id, self.config.vision_end_token_id
        start, end = self.tokenizer.convert_ids_to_tokens(marks)
        return f"{start}{text}{end}"

    def frames_text(self, frames: int, height: int, width: int) -> str:
        """The text for two frames a second."""
        return self.told_text(frames, height, width, Told())

    def told_text(self, frames: int, height: int, width: int, told: Told) -> str:
        """One `<t seconds>` and its visual tokens a temporal patch, t amid its frames' times.

        transformers from 5.12 on keeps the template's marks around all of it; older ones and vLLM
        replace them.
        """
        steps = self.grid(frames, height, width)[0]
        span = self.config.vision_config.temporal_patch_size
        patch = self._marked(self.visual_token * (self.tokens(frames, height, width) // steps))
        times = told.seconds or [frame / FRAMES_PER_SECOND for frame in range(frames)]
        ends = [(step * span, min(step * span + span, frames) - 1) for step in range(steps)]
        seconds = [(times[first] + times[last]) / 2 for first, last in ends]
        text = "".join(f"<{time:.1f} seconds>{patch}" for time in seconds)
        return self._marked(text) if told.outer_marks else text

    def encode(self, pixels: Tensor) -> Vision:
        """Vision tower and merger, and the features of its inner layers."""
        batch, frames, _, height, width = pixels.shape
        grid = torch.tensor([self.grid(frames, height, width)] * batch, device=pixels.device)
        features = self.model.get_video_features(self.patches(pixels), grid)  # type: ignore[operator]
        deep = [torch.cat(list(layer)) for layer in features.deepstack_features]
        return Vision(torch.stack(list(features.pooler_output)), deep)

    def prefix(self, ids: Tensor, vision: Vision) -> dict[str, Any]:
        """With the inner vision features for the first decoder layers."""
        places = (ids == self.visual_token_id)[None].expand(len(vision.embeds), -1)
        deepstack = {"visual_pos_masks": places, "deepstack_visual_embeds": vision.extra}
        return super().prefix(ids, vision) | deepstack
