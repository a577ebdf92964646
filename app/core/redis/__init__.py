"""Redis: client, key names, batched round trips, access check at start."""
