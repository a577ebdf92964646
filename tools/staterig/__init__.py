"""Creates and records the state of a server, for scripts/record_state."""
