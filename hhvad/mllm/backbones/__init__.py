"""Multimodal backbones, by model_type."""

from hhvad.mllm.backbones.backbone import Backbone, Pixels, Told, Vision, find

__all__ = ["Backbone", "Pixels", "Told", "Vision", "find"]
