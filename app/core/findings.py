"""Findings: the result type of every check of `doctor`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """what: the subject. said: its state. remedy: what to do; empty when it is fine."""

    what: str
    level: Level
    said: str
    remedy: str = ""


def ok(what: str, said: str) -> Finding:
    return Finding(what, Level.OK, said)


def warn(what: str, said: str, remedy: str) -> Finding:
    return Finding(what, Level.WARN, said, remedy)


def fail(what: str, said: str, remedy: str) -> Finding:
    return Finding(what, Level.FAIL, said, remedy)
