"""Logging of all processes: one handler on standard error, text or JSON lines, with request ids.

Owns both formats, the subject of log lines (request, API key), and the redaction of API keys and of
passwords in URLs. No code logs prompts or bodies. Knows neither HTTP nor RQ.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Literal

log = logging.getLogger(__name__)

_SECRET = re.compile(r"(?P<key>SG_)[0-9a-zA-Z]{16,}|(?P<scheme>://)[^/\s\"']*(?=@)")
_REQUEST = re.compile(r"\b[0-9a-f]{32}\b")
_CONTROL = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160), 0x2028, 0x2029)}
_CONTROL[ord("\n")] = "\n    "  # continuation lines are indented


@dataclass(slots=True)
class Subject:
    """The subject of the log lines of a call or a job. Mutable, so that all threads of a call share
    it. refusal: class of the error that refused the call."""

    request_id: str = ""
    key_id: str = ""
    refusal: str = ""


_subject: ContextVar[Subject | None] = ContextVar("subject", default=None)


@contextmanager
def about(request_id: str = "") -> Iterator[Subject]:
    """Set the subject of all log lines in the block and in contexts that it starts."""
    subject = Subject(request_id)
    token = _subject.set(subject)
    try:
        yield subject
    finally:
        _subject.reset(token)


def note(*, request_id: str = "", key_id: str = "", refusal: str = "") -> None:
    """Add to the subject of this context; no effect without one."""
    subject = _subject.get()
    if subject is not None:
        subject.request_id = request_id or subject.request_id
        subject.key_id = key_id or subject.key_id
        subject.refusal = refusal or subject.refusal


def current_request() -> str:
    """The request id of the subject of this context, or ""."""
    subject = _subject.get()
    return subject.request_id if subject is not None else ""


def install(process: str, level: str, log_format: Literal["json", "text"]) -> None:
    """Once per process: send all logs, uncaught errors included, through this handler."""
    handler = logging.StreamHandler()
    handler.addFilter(_with_subject)
    handler.setFormatter(_Json(process) if log_format == "json" else _Text())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    logging.captureWarnings(log_format == "json")
    sys.excepthook = _uncaught
    threading.excepthook = lambda hook: _uncaught(hook.exc_type, hook.exc_value, hook.exc_traceback)


def redacted(line: str) -> str:
    """Mask secrets, which errors of libraries can contain."""
    if "SG_" not in line and "@" not in line:
        return line
    return _SECRET.sub(lambda match: (match["key"] or match["scheme"]) + "***", line)


def _with_subject(record: logging.LogRecord) -> bool:
    """Add the request id. A line of a library has no subject, but may contain a job id, which
    begins with the request id."""
    request_id = current_request()
    if not request_id and (match := _REQUEST.search(record.getMessage())):
        request_id = match.group()
    record.request_id = request_id
    return True


class _Text(logging.Formatter):
    """`time LEVEL logger [request]: message`; a message cannot forge a second line."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s%(about)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        request_id = getattr(record, "request_id", "")
        record.about = f" [{request_id}]" if request_id else ""
        return redacted(super().format(record))

    def formatMessage(self, record: logging.LogRecord) -> str:
        record.message = record.message.translate(_CONTROL)
        return super().formatMessage(record)


class _Json(logging.Formatter):
    """One object per line: time (UTC), level, logger, message, process, pid, request_id if known,
    the `fields` of the record, and `exception`."""

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            "process": self._process,
            "pid": os.getpid(),
        }
        if request_id := getattr(record, "request_id", ""):
            line["request_id"] = request_id
        fields: Mapping[str, Any] = getattr(record, "fields", {})
        line |= fields
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return redacted(json.dumps(line, default=str))


def _uncaught(
    kind: type[BaseException], error: BaseException | None, trace: TracebackType | None
) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error or kind(), trace)
    elif not issubclass(kind, SystemExit):
        log.critical("uncaught error", exc_info=(kind, error or kind(), trace))
