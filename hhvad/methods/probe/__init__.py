"""Probe-VAD: how likely a model says yes to whether something is anomalous. No torch."""
