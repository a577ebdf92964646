"""Graceful shutdown: on the first SIGTERM a worker has the grace period GRACE_S to finish its job.

After the grace period it signals itself again, and RQ re-queues the job. A supervisor therefore
sends one signal and waits a little longer than GRACE_S.
"""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType

from rq.worker import BaseWorker

from worker.runtime import runtime


class GracefulShutdown(BaseWorker):
    """Mixin before an RQ worker class."""

    def request_stop(self, signum: int, frame: FrameType | None) -> None:
        second_signal = threading.Timer(
            runtime().settings.grace_s, os.kill, (os.getpid(), signal.SIGTERM)
        )
        second_signal.daemon = True
        second_signal.start()
        super().request_stop(signum, frame)  # type: ignore[no-untyped-call]  # rq leaves it untyped
