"""Descriptions of clips, events and videos (Holmes-VAU): frames, prompts, texts."""
