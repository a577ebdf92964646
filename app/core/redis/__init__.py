"""Redis: the client, round trips shared by many callers, access at start."""
