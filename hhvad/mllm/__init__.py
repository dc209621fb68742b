"""Torch and transformers, which are imported nowhere else but in media.resize.

Backbones, encoders, tasks, and the trainings of the demo models.
"""
