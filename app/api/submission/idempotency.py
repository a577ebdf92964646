"""The Idempotency-Key header: a submission that is repeated with the same key is one request."""

from __future__ import annotations

import hashlib
import json
import re
import secrets
import time
from contextlib import suppress
from typing import Annotated, Any

from fastapi import Depends, Header

from app.api.deps import Services
from app.api.submission.submit import Submission, submit
from app.core.accounts.api_keys import Key
from app.core.errors import Conflict, InvalidRequest
from app.core.requests.idempotency import Use
from app.core.requests.store import IdempotencyKeyTaken
from app.core.requests.types import ADDED_PARAMETERS
from app.core.telemetry.logs import note

_KEY = re.compile("[!-~]{1,255}")
_PATIENCE_S = 5.0
_PAUSE_S = 0.02
_PIECE = 262_144
_MARK = secrets.token_hex(16)  # random, so no client can send it


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
    """submit(), or the id of the request that this owner's Idempotency-Key was used for before.

    Raises Conflict when it was used with another body, and what submit() raises.
    """
    if key is None:
        return submit(services, caller, submission)
    keys, owner = services.idempotency, caller.name
    use = Use(_digest(submission), secrets.token_hex(16))
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        current = keys.take(owner, key, use, services.requests.expiry())
        if current is None or current == use:  # use: redis-py repeated a call whose reply was lost
            with suppress(IdempotencyKeyTaken):
                return _submit(services, caller, submission, key, use)
        elif current.digest != use.digest:
            raise Conflict("Idempotency-Key: was used with another body")
        elif not current.settled and time.monotonic() < deadline:
            time.sleep(_PAUSE_S)  # another call is about to submit it
        elif services.requests.get(current.request_id) is not None:
            note(request_id=current.request_id)
            return current.request_id
        else:
            # Its record was withdrawn or has just expired, or its process is slow or dead.
            keys.release(owner, key, current)
            deadline = time.monotonic() + _PATIENCE_S


def _submit(services: Services, caller: Key, submission: Submission, key: str, use: Use) -> str:
    """Raises IdempotencyKeyTaken when another call has taken the key over."""
    keys, owner = services.idempotency, caller.name
    try:
        return submit(services, caller, submission, use.request_id, keys.guard(owner, key, use))
    except IdempotencyKeyTaken:
        raise
    except BaseException:
        keys.release(owner, key, use)
        raise


def _digest(submission: Submission) -> str:
    """SHA-256 of the body as it was sent: a seed to be drawn is -1, a control map alone has 0
    steps, which no picture has. Whether a long picture is in the body or in `inline` makes no
    difference."""
    fields = submission.body.model_dump()
    for name, default in ADDED_PARAMETERS.items():  # so that old and new versions agree
        if fields[name] == default:
            del fields[name]
    inline = {of.field: of.inline for of in submission.pictures if of.inline is not None}
    for field in inline:
        part, key = _place(fields, field)
        part[key] = _MARK + field + _MARK
    # Texts and the names of inline pictures by turns.
    texts = json.dumps(fields, sort_keys=True).split(_MARK)
    digest = hashlib.sha256()
    for index, text in enumerate(texts):
        if index % 2 == 0:
            digest.update(text.encode())
            continue
        base64 = inline[text]
        for start in range(0, len(base64), _PIECE):  # json.dumps holds the GIL
            piece = base64[start : start + _PIECE].decode("ascii")
            digest.update(json.dumps(piece)[1:-1].encode())
    for picture in submission.pictures:
        if picture.upload is not None:
            digest.update(hashlib.sha256(picture.upload).digest())
    return digest.hexdigest()


def _place(fields: dict[str, Any], field: str) -> tuple[dict[str, Any], str]:
    """The object and the key of a parameter such as `controls[0].image`."""
    if not field.startswith("controls["):
        return fields, field
    index, _, key = field.removeprefix("controls[").partition("].")
    return fields["controls"][int(index)], key
