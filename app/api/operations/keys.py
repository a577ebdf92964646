"""Endpoints that manage API keys, for admin keys. The same as `python -m app.cli keys`."""

from __future__ import annotations

import time
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Depends, Path, Request
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from app.api.deps import KeysDep, SettingsDep
from app.api.operations.admin import ADMIN, admin
from app.api.parsing.json_body import read_json, shortened
from app.api.parsing.media_type import check_encoding
from app.api.wire.openapi import FOUND, Responses, error_answer, json_body
from app.api.wire.requests import without_null
from app.api.wire.responses import Balance, KeyList, KeyResponse, NewKey, Revoked
from app.core.accounts.api_keys import (
    MAX_CONCURRENCY,
    MAX_RPM,
    Key,
    KeyReport,
    KeyStore,
    Terms,
    parse_expiry,
)
from app.core.accounts.credits import MAX_CREDITS
from app.core.clock import rfc3339
from app.core.egress.addresses import AllowList
from app.core.errors import InvalidRequest, NotFound
from app.core.settings import Settings
from app.core.webhooks.message import check_key_target

_BODY: Responses = {
    413: error_answer("Body too large"),
    415: error_answer("Content-Encoding that is not understood"),
}

router = APIRouter(prefix="/admin/keys", tags=["admin"], dependencies=[Depends(admin)])

Body = TypeVar("Body", bound=BaseModel)
Credits = Annotated[float, Field(gt=0, le=MAX_CREDITS)]
KeyId = Annotated[str, Path(description="As the list of keys has it.")]


class KeyOrder(BaseModel):
    """Body of POST /admin/keys. A field that is missing or null sets no limit."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, strict=True)

    name: str = Field(min_length=1, max_length=64, description="The owner of its requests.")
    credits: Credits | None = Field(None, description="Budget.")
    rpm: Annotated[int, Field(ge=1, le=MAX_RPM)] | None = Field(
        None, description="Submissions in any 60 seconds."
    )
    concurrency: Annotated[int, Field(ge=1, le=MAX_CONCURRENCY)] | None = Field(
        None, description="Unfinished requests at a time; more than that wait."
    )
    expires: str | None = Field(
        None, description="A period from now (12h, 30d), or a date or time (ISO 8601)."
    )
    admin: bool = Field(False, description="May manage keys.")
    webhook_url: str = Field(
        "", description="Receives the webhooks of its requests that have no webhook_url."
    )


class TopUp(BaseModel):
    """Body of POST /admin/keys/{id}/credits."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, strict=True)

    credits: Credits = Field(description="What to add to the budget.")


@router.post("", responses={**ADMIN, **_BODY}, openapi_extra=json_body(KeyOrder))
async def create_key(request: Request, settings: SettingsDep, keys: KeysDep) -> NewKey:
    """Create a key. Only this response contains its secret."""
    order = await _read(request, KeyOrder)
    secret, key = await run_in_threadpool(_create, settings, keys, order)
    report = KeyReport(key, order.credits, 0.0, None)
    return {**_response(report), "key": secret}


@router.get("", responses=ADMIN)
def list_keys(keys: KeysDep) -> KeyList:
    """All keys that are not revoked, oldest first."""
    return {"keys": [_response(report) for report in keys.report()]}


@router.delete("/{key_id}", responses={**ADMIN, **FOUND})
def revoke_key(keys: KeysDep, key_id: KeyId) -> Revoked:
    """Revoke a key at once. Its submitted requests continue."""
    if not keys.revoke(key_id):
        raise _no_key(key_id)
    return {"revoked": key_id}


@router.post(
    "/{key_id}/credits",
    responses={**ADMIN, **FOUND, **_BODY},
    openapi_extra=json_body(TopUp),
)
async def top_up(request: Request, keys: KeysDep, key_id: KeyId) -> Balance:
    """Add to the budget of a key that has one."""
    credits = (await _read(request, TopUp)).credits
    balance = await run_in_threadpool(keys.top_up, key_id, credits)
    if balance is None:
        raise NotFound(f"Key {key_id[:64]} not found, or it has no budget to add to")
    return {"id": key_id, "credits": balance}


def _create(settings: Settings, keys: KeyStore, order: KeyOrder) -> tuple[str, Key]:
    try:
        check_key_target(order.webhook_url, AllowList.parse(settings.fetch_allow_hosts))
        terms = Terms(
            order.credits,
            order.rpm,
            order.concurrency,
            None if order.expires is None else parse_expiry(order.expires, time.time()),
            order.admin,
            order.webhook_url,
        )
        return keys.create(order.name, terms)
    except ValueError as error:
        raise InvalidRequest(str(error)) from None


async def _read(request: Request, kind: type[Body]) -> Body:
    """The validated body. Raises UnsupportedEncoding, or InvalidRequest: `field: reason`."""
    check_encoding(request)
    fields = shortened(await read_json(request))
    try:
        return kind.model_validate(without_null(kind, fields))
    except ValidationError as error:
        raise InvalidRequest("; ".join(_sentence(detail) for detail in error.errors())) from None


def _sentence(detail: Any) -> str:
    field = str(detail["loc"][0])[:64] if detail["loc"] else "body"
    return f"{field}: {detail['msg']}"


def _response(report: KeyReport) -> KeyResponse:
    key = report.key
    return {
        "id": key.id,
        "name": key.name,
        "created": rfc3339(key.created_at),
        "expires": None if key.expires_at is None else rfc3339(key.expires_at),
        "last_used": None if report.last_used is None else rfc3339(report.last_used),
        "credits": report.credits,
        "spent": report.spent,
        "spent_by_month": dict(report.spent_by_month),
        "rpm": key.rpm,
        "concurrency": key.concurrency,
        "admin": key.admin,
        "webhook_url": key.webhook_url or None,
    }


def _no_key(key_id: str) -> NotFound:
    return NotFound(f"Key {key_id[:64]} not found")
