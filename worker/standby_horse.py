"""A standby work horse: forked before its job is known.

The job then waits neither for the fork nor for the connection to Redis, which together take as long
as preparing a small picture.
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
    """A forked child that waits for one job. It exits when dismissed and when its parent dies."""

    def __init__(self, ready: Callable[[], object], run: Callable[[str, str], None]) -> None:
        """ready: called in the child before it waits. run: called in the child with the ids of the
        job and of its execution; it ends the child."""
        read_end, self._write_end = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            self._serve(read_end, ready, run)
        os.close(read_end)

    def _serve(
        self, read_end: int, ready: Callable[[], object], run: Callable[[str, str], None]
    ) -> None:
        try:
            die_with_parent()
            os.setpgrp()
            os.close(self._write_end)
            ready()
            with os.fdopen(read_end) as file:
                line = file.readline()
            if line:
                job_id, execution_id = json.loads(line)
                run(job_id, execution_id)
            os._exit(_EXIT_UNUSED)
        except BaseException:
            log.warning("a standby work horse failed", exc_info=True)
        finally:  # a forked child must not return into its parent's code
            os._exit(_EXIT_BROKEN)

    def give(self, job_id: str, execution_id: str) -> bool:
        """Assign the job; call it once. False when the child has died already."""
        line = json.dumps([job_id, execution_id]) + "\n"
        try:
            os.write(self._write_end, line.encode())
        except BrokenPipeError:
            os.waitpid(self.pid, 0)
            return False
        finally:
            os.close(self._write_end)
        return True

    def dismiss(self) -> None:
        """End the child without a job."""
        os.close(self._write_end)
        os.waitpid(self.pid, 0)
