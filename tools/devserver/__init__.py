"""`scripts/dev`: the server for work on its code."""
