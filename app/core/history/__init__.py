"""Finished requests, kept for HISTORY_DAYS in Redis or a database."""
