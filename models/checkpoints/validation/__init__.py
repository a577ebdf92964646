"""Checks the files of a checkpoint before its networks are loaded, without reading the weights."""
