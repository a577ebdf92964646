"""From an HTTP body to a queued request: content types, validation, record, first job."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Request
from redis.exceptions import RedisError

from app.api.auth import Submitter
from app.api.forms import read_form
from app.api.json_body import json_object
from app.api.pricing import account_of
from app.api.schemas import FluxControlNetBody, PreprocessBody, parse_body
from app.api.services import Services, ServicesDep
from app.api.webhooks import webhook_of
from app.core.errors import (
    BlobsUnavailable,
    InsufficientCredits,
    InvalidContentType,
    InvalidRequest,
)
from app.core.keys import Key
from app.core.record import Stage
from app.core.requests import Hold, KeyTaken
from app.core.telemetry.logs import note
from app.core.urls import MAX_LENGTH as URL_MAX
from models.geometry import largest_of_shape

log = logging.getLogger(__name__)

_RANDOM_SEEDS = 999_999_999_999_999  # the hosted service's own range for a drawn seed


@dataclass(frozen=True, slots=True)
class Submission:
    """A valid body. upload: the bytes of its picture when that came as a file. webhook: where the
    end of the request is told, and with which origin in the links. only_map: what is asked for is
    the control map; whatever the body says of a picture is a default then.
    """

    body: FluxControlNetBody
    upload: bytes | None
    webhook: Mapping[str, str] | None = None
    only_map: bool = False


async def read_submission(
    request: Request,
    services: ServicesDep,
    caller: Submitter,
) -> Submission:
    """Parse and validate; the key and its limits are checked first. Raises 400, 401, 406, 413, 429
    or 503."""
    fields, uploads = await _read_fields(request, services)
    body = parse_body(FluxControlNetBody, fields)
    upload = uploads.get("control_image" if body.control_image else "image")
    webhook = webhook_of(request, services.settings, body.webhook_url, caller)
    return Submission(body, upload, webhook)


async def read_preprocess(
    request: Request,
    services: ServicesDep,
    caller: Submitter,  # noqa: ARG001  # asked for so that nothing is read without a key
) -> Submission:
    """The same for a body that asks for a control map."""
    fields, uploads = await _read_fields(request, services)
    asked = parse_body(PreprocessBody, fields)
    # A map has no seed and takes no step; a record is the same for all requests nevertheless.
    body = FluxControlNetBody.model_construct(
        **asked.model_dump(), prompt="", seed=0, image_format="png", steps=0
    )
    return Submission(body, uploads.get("image"), only_map=True)


async def _read_fields(
    request: Request, services: Services
) -> tuple[dict[str, Any], dict[str, bytes]]:
    """The fields of a body of either type, and the bytes of its files."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type == "application/json":
        return json_object(await request.body()), {}
    if media_type == "multipart/form-data":
        return await read_form(request, services.settings.max_body_bytes)
    raise InvalidContentType


SubmissionDep = Annotated[Submission, Depends(read_submission)]
PreprocessDep = Annotated[Submission, Depends(read_preprocess)]


def submit(
    services: Services,
    caller: Key,
    submission: Submission,
    request_id: str | None = None,
    hold: Hold | None = None,
) -> str:
    """Accept: write the record, queue its first job, and say the request's id, a new one unless
    the caller has drawn one. hold: by which it is made once.

    Raises InvalidRequest for a custom size that no worker could make or for a URL that is too
    long, InsufficientCredits, RedisError, BlobsUnavailable, and KeyTaken.
    """
    if not submission.body.use_input_img_dimension:
        _check_size(services, submission.body)
    request_id = request_id or secrets.token_hex(16)
    note(request_id=request_id)
    params = submission.body.model_dump(exclude={"image", "control_image", "webhook_url"})
    if submission.only_map:
        params["only_map"] = True
    if params["seed"] == -1:
        params["seed"] = secrets.randbelow(_RANDOM_SEEDS)
    account = account_of(
        caller, submission.body, submission.upload, services, only_map=submission.only_map
    )
    expires_at = services.requests.expiry()
    source = _store_source(services, request_id, submission, expires_at)
    stage = _first_stage(services, source)
    try:
        services.requests.submit(
            request_id,
            caller.name,
            params,
            source,
            expires_at,
            webhook=submission.webhook,
            account=account,
            hold=hold or Hold(),
            stage=stage,
        )
        _enqueue(services, request_id, stage, told=hold is not None)
    except (InsufficientCredits, KeyTaken):
        services.blobs.delete(f"{request_id}:source")
        raise
    except (RedisError, BlobsUnavailable):
        # Nobody was told this id. A Redis that is full needs the room of the picture at once.
        services.requests.forget(request_id)
        services.blobs.delete(f"{request_id}:source")
        raise
    return request_id


def _first_stage(services: Services, source: Mapping[str, str]) -> Stage:
    """FETCH for a picture on another server; one of our own is read where it lies."""
    url = source.get("url")
    if url is None or services.links.own_output(url) or services.links.own_upload(url):
        return Stage.PREPARE
    return Stage.FETCH


def _enqueue(services: Services, request_id: str, stage: Stage, *, told: bool) -> None:
    """Queue the first job. told: from the moment that the record was there, others may have been
    told its id; then it stays, and who looks after strays gives it a job (app/core/strays.py)."""
    try:
        services.jobs.enqueue(request_id, stage)
    except RedisError as error:
        if not told:
            raise
        log.warning("request %s: not queued, left to the next sweep: %s", request_id, error)


def _check_size(services: Services, body: FluxControlNetBody) -> None:
    size = body.custom_width, body.custom_height
    allowed = services.jobs.allowed_pixels(services.settings.max_pixels)
    if size[0] * size[1] > allowed:
        largest = largest_of_shape(size, allowed)
        raise InvalidRequest(
            f"custom_width: {size[0]}x{size[1]} is not allowed; allowed are at most {allowed} "
            f"pixels, in this shape {largest[0]}x{largest[1]}"
        )


def _store_source(
    services: Services, request_id: str, submission: Submission, expires_at: float
) -> dict[str, str]:
    """Where prepare finds the picture; bytes go to a blob, so that the record stays small.

    Raises InvalidRequest for a URL too long to be one.
    """
    field = "control_image" if submission.body.control_image else "image"
    text: str = getattr(submission.body, field)
    name = f"{request_id}:source"
    if submission.upload is not None:
        services.blobs.put(name, submission.upload, expires_at)
        return {"field": field, "kind": "file"}
    if "://" in text[:16]:
        if len(text) > URL_MAX:
            raise InvalidRequest(f"{field}: a URL has at most {URL_MAX} characters")
        return {"field": field, "kind": "url", "url": text}
    services.blobs.put(name, text.encode(), expires_at)
    return {"field": field, "kind": "base64"}
