"""Blob storage: blobs with an expiry in Redis, a folder or a bucket; uploads; signed links."""
