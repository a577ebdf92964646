"""Warnings: what a client should know of a request that runs nevertheless.

Owns their codes and how the record stores them. The stages that find one write its text.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from typing_extensions import TypedDict  # pydantic needs this one before Python 3.12

from app.core.stored_json import from_dict


class WarningCode(StrEnum):
    """The codes of this version; a record may have those of another one."""

    UNKNOWN_PARAMETER = "unknown_parameter"
    NOISY_PAIR = "noisy_pair"
    EMPTY_POSE_MAP = "empty_pose_map"
    PROMPT_CUT = "prompt_cut"
    PROFILE_CHANGED = "profile_changed"


class WarningBody(TypedDict):
    """A warning in a response or webhook."""

    code: str
    parameter: str
    message: str


@dataclass(frozen=True, slots=True)
class RequestWarning:
    """code: a WarningCode, or a word of another version. parameter: the name in the body that the
    warning is about; for an unknown parameter it is text of the client. message: one sentence."""

    code: str = ""
    parameter: str = ""
    message: str = ""

    def to_body(self) -> WarningBody:
        return {"code": self.code, "parameter": self.parameter, "message": self.message}


def warnings_from_json(text: str) -> tuple[RequestWarning, ...]:
    """The warnings that a stage stored."""
    return tuple(from_dict(RequestWarning, values) for values in json.loads(text))


def warnings_to_json(warnings: Iterable[RequestWarning]) -> str:
    return json.dumps(warning_bodies(warnings))


def warning_bodies(warnings: Iterable[RequestWarning]) -> list[WarningBody]:
    """The warnings as they are in responses, webhooks and the record."""
    return [warning.to_body() for warning in warnings]


def by_importance(warnings: Iterable[RequestWarning]) -> tuple[RequestWarning, ...]:
    """Unknown parameters last, so that many of them displace nothing where space is limited."""
    return tuple(sorted(warnings, key=_is_unknown_parameter))


def _is_unknown_parameter(warning: RequestWarning) -> bool:
    return warning.code == WarningCode.UNKNOWN_PARAMETER
