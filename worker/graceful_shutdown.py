"""How a worker leaves that is asked to once: it finishes its job if that takes no longer than
GRACE_S, else it asks itself again, and RQ puts the job back into the queue.

Whoever runs the process then needs no second signal, only patience for a little more than GRACE_S.
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
        ask_again = threading.Timer(
            runtime().settings.grace_s, os.kill, (os.getpid(), signal.SIGTERM)
        )
        ask_again.daemon = True
        ask_again.start()
        super().request_stop(signum, frame)  # type: ignore[no-untyped-call]  # rq leaves it untyped
