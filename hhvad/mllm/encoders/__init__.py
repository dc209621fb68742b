"""Models that put frames and texts into one space of unit vectors."""
