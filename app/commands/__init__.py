"""What `python -m app.cli` runs, one module for each command that is not a process."""
