"""Bytes by name with an expiry: Redis, a folder or a bucket; uploads and signed links."""
