"""Mathematics only: no HTTP, no Redis, no settings, no environment variables."""
