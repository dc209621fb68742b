"""Trainings of the demo models, whose pictures and texts are those of hhvad.demo."""
