"""What is done beside the device: in order, once, and never two things at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable

from worker.background_thread import BackgroundThread


def test_what_is_left_waits_until_it_is_begun_and_comes_first() -> None:
    aside, done = BackgroundThread(), list[str]()
    aside.leave(lambda: done.append("left"))
    assert aside.pending
    assert done == []
    aside.begin(lambda: done.append("then"))
    assert not aside.pending
    aside.settle()
    assert done == ["left", "then"]


def test_it_is_done_in_another_thread() -> None:
    aside, threads = BackgroundThread(), list[threading.Thread]()
    aside.leave(lambda: threads.append(threading.current_thread()))
    aside.settle()
    assert threads != [threading.current_thread()]


def test_leaving_something_first_does_what_was_left_before() -> None:
    aside, done = BackgroundThread(), list[int]()
    for number in range(3):
        aside.leave(lambda number=number: done.append(number))  # type: ignore[misc]
        assert done == list(range(number))
    aside.settle()
    aside.settle()
    assert done == [0, 1, 2]


def test_a_second_start_does_nothing_while_the_first_is_at_work() -> None:
    aside, begun, go = BackgroundThread(), threading.Event(), threading.Event()
    done = list[str]()

    def first() -> None:
        begun.set()
        go.wait()
        done.append("first")

    second: Callable[[], None] = lambda: done.append("second")  # noqa: E731
    aside.begin(first)
    begun.wait()
    aside.begin(second)
    go.set()
    aside.settle()
    assert done == ["first"]
