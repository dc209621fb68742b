"""The embedded default: procedural street scenes, and the tiny model that was trained on them."""
