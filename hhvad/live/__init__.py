"""Live cameras: recorded in short files, and judged as these come."""
