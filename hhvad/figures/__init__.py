"""The pictures that people look at."""
