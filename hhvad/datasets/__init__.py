"""Annotation files of data sets."""
