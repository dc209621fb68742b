"""How much neighbouring frames differ: the baseline without a model."""
