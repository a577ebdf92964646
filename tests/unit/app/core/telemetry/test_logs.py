"""Log lines: their format, the request they name, and secrets that never appear in one."""

from __future__ import annotations

import contextvars
import io
import json
import logging
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest

from app.core.telemetry import logs
from tests.support.logs import as_before

ID, OTHER = "0123456789abcdef0123456789abcdef", "f" * 32
KEY = "SG_" + "0a" * 16

log = logging.getLogger("tests.logs")


@contextmanager
def installed(log_format: Any) -> Iterator[io.StringIO]:
    """What goes to standard error."""
    sink = io.StringIO()
    with as_before(), redirect_stderr(sink):
        logs.install("cpu worker", "info", log_format)
        yield sink


@contextmanager
def logged() -> Iterator[list[dict[str, Any]]]:
    """The lines of the block as JSON, once it has ended."""
    lines: list[dict[str, Any]] = []
    with installed("json") as sink:
        yield lines
    lines += [json.loads(line) for line in sink.getvalue().splitlines()]


def test_a_line_is_one_object() -> None:
    with logged() as lines, logs.about(ID):
        log.warning("two\nlines %s", "ü", extra={"fields": {"status": 200}})
    [line] = lines
    assert line["message"] == "two\nlines ü"
    assert (line["level"], line["logger"], line["process"]) == ("warning", log.name, "cpu worker")
    assert (line["request_id"], line["status"]) == (ID, 200)
    assert line["time"].endswith("+00:00")


@pytest.mark.usefixtures("far_from_utc")
def test_the_time_of_a_line_is_in_utc() -> None:
    began = datetime.now(UTC)
    with logged() as lines:
        log.warning("now")
    moment = datetime.fromisoformat(lines[0]["time"])
    assert moment.utcoffset() == timedelta(0)
    assert began - timedelta(milliseconds=1) <= moment <= datetime.now(UTC)


def test_a_traceback_stays_in_its_line() -> None:
    with logged() as lines:
        try:
            raise ValueError("no")
        except ValueError:
            log.exception("it failed")
    [line] = lines
    assert "ValueError: no" in line["exception"]
    assert "request_id" not in line


def test_a_request_id_set_in_a_thread_of_a_call_counts_for_the_call() -> None:
    with logged() as lines:
        with logs.about():
            learn = partial(logs.note, request_id=ID, key_id="k")
            thread = threading.Thread(target=contextvars.copy_context().run, args=[learn])
            thread.start()
            thread.join()
            log.info("after")
        log.info("outside")
    after, outside = lines
    assert after["request_id"] == ID
    assert "request_id" not in outside


def test_a_library_that_names_a_job_names_its_request() -> None:
    with logged() as lines:
        log.info("Worker %s: %s: Job OK (%s)", "gpu-1", "gpu", f"{ID}-generate")
        with logs.about(OTHER):
            log.info("about %s", ID)
    assert [line["request_id"] for line in lines] == [ID, OTHER]


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_secrets_never_reach_a_line(log_format: str) -> None:
    with installed(log_format) as sink:
        log.info("key %s at %s", KEY, "redis://user:p@ss:w@host:6379/0")
        try:
            raise ValueError(f"https://me:hidden@host/x with {KEY}")
        except ValueError as error:
            log.error("failed: %s", error)
    text = sink.getvalue()
    assert "redis://***@host:6379/0" in text
    assert "https://***@host/x" in text
    for secret in (KEY, KEY[3:], "p@ss", "user", "hidden"):
        assert secret not in text


def test_a_text_line_cannot_be_forged() -> None:
    with installed("text") as sink, logs.about(ID):
        log.info("path %s", "/a\n2026-01-01 ERROR forged\x1b[31m\u2028")
    line, rest = sink.getvalue().splitlines()
    assert line.endswith(f"INFO {log.name} [{ID}]: path /a")
    assert rest == "    2026-01-01 ERROR forged\\x1b[31m\\x2028"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_warnings_and_uncaught_errors_are_lines_too() -> None:
    def end() -> None:
        raise KeyError("gone")

    with logged() as lines:
        warnings.showwarning(UserWarning("old"), UserWarning, "file.py", 1)
        thread = threading.Thread(target=end)
        thread.start()
        thread.join()
        sys.excepthook(ValueError, ValueError("end"), None)
    warned, in_thread, at_end = lines
    assert warned["logger"] == "py.warnings"
    assert "KeyError: 'gone'" in in_thread["exception"]
    assert (at_end["level"], at_end["exception"]) == ("critical", "ValueError: end")
