"""The model process, and the jobs that ask it."""
