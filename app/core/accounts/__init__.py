"""API keys, their credits and their usage."""
