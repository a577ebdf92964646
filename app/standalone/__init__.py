"""The single-machine server of `scripts/up`: supervisor, embedded Redis, data directory."""
