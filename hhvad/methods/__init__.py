"""The ways from a video to its scores."""
