"""hhvad: tuning-free video anomaly detection from the attention heads of a frozen MLLM."""

__version__ = "0.1.0"
