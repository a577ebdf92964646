"""The background thread runs each task once, in order, and one at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable

from worker.background_thread import BackgroundThread


def test_a_deferred_task_waits_for_start_and_runs_first() -> None:
    background, done = BackgroundThread(), list[str]()
    background.defer(lambda: done.append("deferred"))
    assert background.pending
    assert done == []
    background.start(lambda: done.append("then"))
    assert not background.pending
    background.flush()
    assert done == ["deferred", "then"]


def test_a_task_runs_on_another_thread() -> None:
    background, threads = BackgroundThread(), list[threading.Thread]()
    background.defer(lambda: threads.append(threading.current_thread()))
    background.flush()
    assert threads != [threading.current_thread()]


def test_defer_first_runs_the_task_deferred_before() -> None:
    background, done = BackgroundThread(), list[int]()
    for number in range(3):
        background.defer(lambda number=number: done.append(number))  # type: ignore[misc]
        assert done == list(range(number))
    background.flush()
    background.flush()
    assert done == [0, 1, 2]


def test_a_second_start_does_nothing_while_the_first_task_runs() -> None:
    background, started, go = BackgroundThread(), threading.Event(), threading.Event()
    done = list[str]()

    def first() -> None:
        started.set()
        go.wait()
        done.append("first")

    second: Callable[[], None] = lambda: done.append("second")  # noqa: E731
    background.start(first)
    started.wait()
    background.start(second)
    go.set()
    background.flush()
    assert done == ["first"]
