"""The warnings of a request as the header `x-warnings`: a JSON list on one line of ASCII."""

from __future__ import annotations

import json

from app.core.requests.record import RequestRecord

WARNINGS_HEADER = "x-warnings"
MAX_LENGTH = 2048
"""Characters. A proxy may reserve only 4096 bytes for all headers of a response."""


def warning_headers(record: RequestRecord) -> dict[str, str]:
    """The header, or nothing for a request without warnings. The last warnings are left out where
    the list would be longer than MAX_LENGTH; the JSON bodies have all of them."""
    text = ""
    for warning in record.warnings:
        entry = json.dumps(warning.to_body())
        longer = f"{text}, {entry}" if text else entry
        if len(longer) + len("[]") > MAX_LENGTH:
            break
        text = longer
    return {WARNINGS_HEADER: f"[{text}]"} if text else {}
