"""URLs for the people who run the server: API keys, health, metrics."""
