"""The page on which a person sees what was found: built from a study's files, opened from disk."""
