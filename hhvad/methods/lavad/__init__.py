"""LAVAD: captions of frames, cleaned, summed up and rated by an LLM. Arrays and texts in, scores out."""
