"""The page on which a person sees what was found: built from a study's files, opened from disk."""

# Who writes events for other tools; open to entry points.
EXPORTS = {
    "label-studio": "hhvad.viewer.label_studio:write",
    "fiftyone": "hhvad.viewer.exports:write_fiftyone",
    "webvtt": "hhvad.viewer.exports:write_webvtt",
}
GROUP = "hhvad.exports"
