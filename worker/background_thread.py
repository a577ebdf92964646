"""What a gpu worker does in a thread of its own while the device is busy, so that the device never
waits for it: first what the last job left to do, then whatever its successor asks for.

One thread and one thing left at a time. Knows neither RQ nor Redis; what is done here handles its
own errors.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

Task = Callable[[], None]


class BackgroundThread:
    """Called from one thread only."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "aside")
        self._left: Task | None = None
        self._begun: Future[None] | None = None

    @property
    def pending(self) -> bool:
        """Something is left that has not begun."""
        return self._left is not None

    def leave(self, task: Task) -> None:
        """Keep `task` until begin(); whatever was to be done before it is done first."""
        self.settle()
        self._left = task

    def begin(self, then: Task | None = None) -> None:
        """Start what is left, and `then` after it; nothing while an earlier start is at work."""
        if self._begun is not None and not self._begun.done():
            return
        tasks = [task for task in (self._left, then) if task is not None]
        self._left = None
        self._begun = self._thread.submit(_run, tasks)

    def settle(self) -> None:
        """Return once nothing is left."""
        self._wait()
        if self.pending:
            self.begin()
            self._wait()

    def _wait(self) -> None:
        if self._begun is not None:
            self._begun.result()


def _run(tasks: list[Task]) -> None:
    for task in tasks:
        task()
