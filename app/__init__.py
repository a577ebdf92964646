"""The server: everything except the mathematics of `models`. No module here imports torch."""

VERSION = "0.1.0"
"""The version of the whole project. pyproject.toml reads it from here, and a test compares every
other file that names it (docs/releases.md)."""
