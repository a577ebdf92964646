"""The request record, its store and its events."""
