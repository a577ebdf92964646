"""Owns the background thread of a gpu worker: it post-processes the previous job and prefetches for
the next one, so that the GPU never idles.

One thread, one deferred task at a time. Knows neither RQ nor Redis. Tasks handle their own errors.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

Task = Callable[[], None]


class BackgroundThread:
    """Its methods may be called from one thread only."""

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(1, "background")
        self._deferred: Task | None = None
        self._running: Future[None] | None = None

    @property
    def pending(self) -> bool:
        """A deferred task has not started yet."""
        return self._deferred is not None

    def defer(self, task: Task) -> None:
        """Hold `task` until start() or flush(). Earlier tasks finish first."""
        self.flush()
        self._deferred = task

    def start(self, then: Task | None = None) -> None:
        """Run the deferred task, and `then` after it. Does nothing while earlier tasks run."""
        if self._running is not None and not self._running.done():
            return
        tasks = [task for task in (self._deferred, then) if task is not None]
        self._deferred = None
        self._running = self._executor.submit(_run, tasks)

    def flush(self) -> None:
        """Return once every task has run."""
        self._wait()
        if self.pending:
            self.start()
            self._wait()

    def _wait(self) -> None:
        if self._running is not None:
            self._running.result()


def _run(tasks: list[Task]) -> None:
    for task in tasks:
        task()
