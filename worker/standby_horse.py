"""A work horse that is forked before its job is known: the job does not wait for the fork and for
the connection to Redis, which take as long as preparing a small picture does.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable

from app.core.system.processes import die_with_parent

log = logging.getLogger(__name__)

_EXIT_UNUSED = 0
_EXIT_BROKEN = 1


class StandbyHorse:
    """A forked child that waits for one job. It ends when it is dismissed, and with its parent."""

    def __init__(self, ready: Callable[[], object], run: Callable[[str, str], None]) -> None:
        """ready: called in the child before it waits. run: called there with the ids of the job
        and of its execution; it ends the child."""
        orders, self._give_to = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            self._serve(orders, ready, run)
        os.close(orders)

    def _serve(
        self, orders: int, ready: Callable[[], object], run: Callable[[str, str], None]
    ) -> None:
        try:
            die_with_parent()
            os.setpgrp()
            os.close(self._give_to)
            ready()
            with os.fdopen(orders) as file:
                line = file.readline()
            if line:
                job_id, execution_id = json.loads(line)
                run(job_id, execution_id)
            os._exit(_EXIT_UNUSED)
        except BaseException:
            log.warning("a work horse that stood by ended", exc_info=True)
        finally:  # a forked child must not go on as its parent
            os._exit(_EXIT_BROKEN)

    def give(self, job_id: str, execution_id: str) -> bool:
        """Hand it a job, once. False when it has died before."""
        line = json.dumps([job_id, execution_id]) + "\n"
        try:
            os.write(self._give_to, line.encode())
        except BrokenPipeError:
            os.waitpid(self.pid, 0)
            return False
        finally:
            os.close(self._give_to)
        return True

    def dismiss(self) -> None:
        """End it without a job."""
        os.close(self._give_to)
        os.waitpid(self.pid, 0)
