"""This machine: memory, processes, private files, exit codes."""
