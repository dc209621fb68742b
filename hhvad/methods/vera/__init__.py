"""VERA: guiding questions to a model about a window around every centre. No torch."""
