"""API keys and their credits."""
