"""Videos: what a file is, when its frames are, and which of them the model sees."""
