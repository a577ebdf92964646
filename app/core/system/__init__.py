"""This machine: memory, processes, files that only one user may read."""
