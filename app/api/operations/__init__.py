"""URLs for the people who run the server: API keys, usage, health, metrics."""
