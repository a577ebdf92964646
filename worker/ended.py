"""The notifier's job under the path that jobs in Redis and workers of version 0.1.0 know. Jobs are
queued under it for one release more, so that old and new workers run beside each other.
"""

from worker.completion_notifier import notify as tell

__all__ = ["tell"]
