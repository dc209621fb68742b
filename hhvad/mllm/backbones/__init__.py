"""Multimodal backbones, by model_type."""

from hhvad.mllm.backbones.backbone import Backbone, Pixels, Vision, find

__all__ = ["Backbone", "Pixels", "Vision", "find"]
