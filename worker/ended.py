"""Alias of the completion notifier's job for jobs in Redis and workers of version 0.1.0.

Jobs are queued under this path for one more release, so that old and new workers can run together.
"""

from worker.completion_notifier import notify as tell

__all__ = ["tell"]
