"""LAVAD: an LLM sums up and rates cleaned captions. Arrays and texts in, scores out; no torch."""
