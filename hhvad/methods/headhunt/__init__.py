"""HeadHunt-VAD: robust head identification and a scorer on the expert heads."""
