"""Multimodal backbones, by model_type."""
