"""Parses a request body into fields and pictures. Validates no value."""
