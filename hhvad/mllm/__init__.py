"""The only place that imports torch and transformers: backbones, capture, residency, tiny."""
