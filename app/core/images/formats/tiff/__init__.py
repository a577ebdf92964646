"""TIFF: directory, samples, colours."""
