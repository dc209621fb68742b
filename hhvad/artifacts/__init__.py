"""Files that pass between steps: one typed reader a format."""
