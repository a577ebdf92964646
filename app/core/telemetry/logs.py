"""How every process of ours logs: one handler on standard error, as text or as one JSON object a
line, and on each line the request it is about.

Owns the two formats, whom the lines of a call or a job are about, and what never reaches a line:
API keys and passwords in URLs. Prompts and bodies are kept out by never being logged. Knows
neither HTTP nor RQ.
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
_CONTROL[ord("\n")] = "\n    "  # what goes on is told from what begins


@dataclass(slots=True)
class Subject:
    """Whom the lines of a call or a job are about. Mutable: what is learnt in one thread of a call
    counts for the rest of it. refusal: the error's class with which the call was turned down."""

    request_id: str = ""
    key_id: str = ""
    refusal: str = ""


_subject: ContextVar[Subject | None] = ContextVar("subject", default=None)


@contextmanager
def about(request_id: str = "") -> Iterator[Subject]:
    """All lines of the block, and of what it starts in its context, are about this request."""
    subject = Subject(request_id)
    token = _subject.set(subject)
    try:
        yield subject
    finally:
        _subject.reset(token)


def note(*, request_id: str = "", key_id: str = "", refusal: str = "") -> None:
    """What has been learnt about the subject of this context; nothing where there is none."""
    subject = _subject.get()
    if subject is not None:
        subject.request_id = request_id or subject.request_id
        subject.key_id = key_id or subject.key_id
        subject.refusal = refusal or subject.refusal


def current_request() -> str:
    """The id of the request that this context is about, or an empty text."""
    subject = _subject.get()
    return subject.request_id if subject is not None else ""


def install(process: str, level: str, log_format: Literal["json", "text"]) -> None:
    """Once a process: everything that is logged, uncaught errors too, goes through our handler."""
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
    """Without the secrets that an error of a library may have put there."""
    if "SG_" not in line and "@" not in line:
        return line
    return _SECRET.sub(lambda found: (found["key"] or found["scheme"]) + "***", line)


def _with_subject(record: logging.LogRecord) -> bool:
    """Libraries know no subject, but the names of our jobs begin with the request."""
    request_id = current_request()
    if not request_id and (named := _REQUEST.search(record.getMessage())):
        request_id = named.group()
    record.request_id = request_id
    return True


class _Text(logging.Formatter):
    """`time LEVEL logger [request]: message`; no message can pass for two lines."""

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
    """One object a line: time (UTC), level, logger, message, process, pid, request_id if there is
    one, the `fields` that a line was given, and `exception`."""

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
