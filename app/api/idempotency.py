"""The Idempotency-Key header: however often a submission is repeated, it is one request."""

from __future__ import annotations

import hashlib
import json
import re
import secrets
import time
from typing import Annotated

from fastapi import Depends, Header

from app.api.services import Services
from app.api.submission import Submission, submit
from app.core.errors import Conflict, InvalidRequest
from app.core.idempotency import Use
from app.core.keys import Key
from app.core.telemetry.logs import note

_KEY = re.compile("[!-~]{1,255}")
_PATIENCE_S = 5.0
_PAUSE_S = 0.02


async def idempotency_key(
    value: Annotated[
        str | None,
        Header(
            alias="Idempotency-Key",
            description="The same key with the same body is the same request, while that lives.",
            json_schema_extra={"pattern": f"^{_KEY.pattern}$"},
        ),
    ] = None,
) -> str | None:
    """Raises InvalidRequest for a key that is empty, long, or not of visible ASCII characters."""
    if value is not None and not _KEY.fullmatch(value):
        raise InvalidRequest("Idempotency-Key: 1 to 255 visible ASCII characters are needed")
    return value


IdempotencyKey = Annotated[str | None, Depends(idempotency_key)]


def submit_once(services: Services, caller: Key, submission: Submission, key: str | None) -> str:
    """submit(), or the id of the request that this owner's key stands for already.

    Raises Conflict when it stands for another body, and what submit() raises.
    """
    if key is None:
        return submit(services, caller, submission)
    keys, owner = services.idempotency, caller.name
    use = Use(_digest(submission), secrets.token_hex(16))
    deadline = time.monotonic() + _PATIENCE_S
    while (held := keys.take(owner, key, use, services.requests.expiry())) is not None:
        if held.digest != use.digest:
            raise Conflict("Idempotency-Key: was used with another body")
        if held.settled:
            note(request_id=held.request_id)
            return held.request_id
        if time.monotonic() < deadline:
            time.sleep(_PAUSE_S)  # another call is about to submit it
        elif services.requests.get(held.request_id) is not None:
            keys.settle(owner, key, held)  # its process died when the request was there
        else:
            keys.release(owner, key, held)  # and here before it was
    try:
        submit(services, caller, submission, use.request_id)
    except BaseException:
        keys.release(owner, key, use)
        raise
    keys.settle(owner, key, use)
    return use.request_id


def _digest(submission: Submission) -> str:
    """Of what was asked for: a seed that is to be drawn is -1 here, whatever was drawn; a control
    map alone takes no step, which no picture does."""
    fields = json.dumps(submission.body.model_dump(), sort_keys=True)
    digest = hashlib.sha256(fields.encode())
    if submission.upload is not None:
        digest.update(hashlib.sha256(submission.upload).digest())
    return digest.hexdigest()
