"""Turns an HTTP body into a queued request: content type, validation, record, first job."""

from __future__ import annotations

import logging
import secrets
from dataclasses import dataclass, replace
from typing import Annotated, Any

from fastapi import Depends, Request
from fastapi.concurrency import run_in_threadpool
from redis.exceptions import RedisError

from app.api.auth import Submitter
from app.api.deps import Services, ServicesDep
from app.api.parsing.control_fields import without_long_strings
from app.api.parsing.forms import read_form
from app.api.parsing.json_body import read_json
from app.api.parsing.json_scan import LongString
from app.api.parsing.media_type import media_type_of
from app.api.submission.body_warnings import pair_warnings, unknown_parameters
from app.api.submission.limits import check_size, check_time
from app.api.submission.lora_files import loras_of
from app.api.submission.pictures import (
    SentPicture,
    check_picture,
    drop_pictures,
    first_stage,
    picture_fields,
    pictures_of,
    store_pictures,
)
from app.api.submission.pricing import account_of, expected_work
from app.api.submission.webhook import webhook_of
from app.api.wire.requests import (
    FluxControlNetBody,
    PreprocessBody,
    parse_body,
    without_empty,
)
from app.core.accounts.api_keys import Key
from app.core.errors import BlobsUnavailable, InsufficientCredits, InvalidContentType
from app.core.requests.record import Stage
from app.core.requests.store import IdempotencyGuard, IdempotencyKeyTaken
from app.core.requests.types import WebhookTarget
from app.core.requests.warnings import RequestWarning
from app.core.telemetry.logs import note

log = logging.getLogger(__name__)

_ELSEWHERE = "base64"  # stands in the body for a long picture
_RANDOM_SEEDS = 999_999_999_999_999  # the range from which the hosted service draws seeds


@dataclass(frozen=True, slots=True)
class Submission:
    """A valid body. pictures: those it needs, the one that decides the size of the result first.
    only_map: the client wants the control map alone; the body's parameters of a picture are
    defaults then. warnings: about the body.
    """

    body: FluxControlNetBody
    pictures: tuple[SentPicture, ...]
    webhook: WebhookTarget | None = None
    only_map: bool = False
    warnings: tuple[RequestWarning, ...] = ()


@dataclass(frozen=True, slots=True)
class BodyParts:
    """A body that was read and not validated: its fields, the bytes of its files, and its long
    base64, which has a placeholder in the fields. By the names of the fields."""

    fields: dict[str, Any]
    uploads: dict[str, bytes]
    inline: dict[str, LongString]


class PendingSubmission:
    """Hands a submission over, once. FastAPI keeps the values of dependencies until a call ends; a
    picture must not stay in memory while v1 waits for the end of its request."""

    def __init__(self, submission: Submission) -> None:
        self._submissions = [submission]

    def take(self) -> Submission:
        return self._submissions.pop()


async def read_submission(
    request: Request,
    services: ServicesDep,
    caller: Submitter,
) -> PendingSubmission:
    """Parse and validate, after the check of the key and its limits. Raises errors of status 400,
    401, 406, 413, 415, 429 and 503."""
    parts = await read_parts(request, services)
    return await submission_of(request, services, caller, parts)


async def submission_of(
    request: Request, services: Services, caller: Key, parts: BodyParts
) -> PendingSubmission:
    """The validated submission of a body. Raises InvalidRequest."""
    body = parse_body(FluxControlNetBody, parts.fields, services.settings.checkpoint)
    webhook = webhook_of(request, services.settings, body.webhook_url, caller)
    pictures = await _pictures_of(body, parts)
    warnings = (*pair_warnings(body), *unknown_parameters(parts.fields))
    return PendingSubmission(Submission(body, pictures, webhook, warnings=warnings))


async def read_preprocess(
    request: Request,
    services: ServicesDep,
    caller: Submitter,  # noqa: ARG001  # FastAPI checks the key first, so no stranger's body is read
) -> PendingSubmission:
    """read_submission() for a body that asks for a control map."""
    parts = await read_parts(request, services)
    map_body = parse_body(PreprocessBody, parts.fields, services.settings.checkpoint)
    # A map has neither seed nor steps, but all requests have the same record.
    body = FluxControlNetBody.model_construct(
        **map_body.model_dump(), prompt="", seed=0, image_format="png", steps=0
    )
    pictures = await _pictures_of(body, parts)
    warnings = unknown_parameters(parts.fields)
    return PendingSubmission(Submission(body, pictures, only_map=True, warnings=warnings))


async def read_parts(
    request: Request, services: Services, *, listed_image: bool = False
) -> BodyParts:
    """The parts of a body of either type. listed_image: as for read_form."""
    media_type = media_type_of(request)
    uploads: dict[str, bytes] = {}
    if media_type == "application/json":
        fields = await read_json(request)
    elif media_type == "multipart/form-data":
        most = services.settings.max_body_bytes
        fields, uploads = await read_form(request, most, listed_image=listed_image)
        fields = without_empty(fields)
    else:
        raise InvalidContentType
    fields, inline = without_long_strings(fields, _ELSEWHERE)
    return BodyParts(fields, uploads, inline)


async def _pictures_of(body: FluxControlNetBody, parts: BodyParts) -> tuple[SentPicture, ...]:
    """Joins long base64 in a thread: that copies the whole text, and bytes.join releases the GIL.
    Empties `parts.inline`, so that the pieces of only one picture are held beside its copy."""
    used = picture_fields(body).keys() - parts.uploads.keys()
    joined = {}
    while parts.inline:
        name, text = parts.inline.popitem()
        if name in used:
            joined[name] = await run_in_threadpool(text.to_bytes)
    return pictures_of(body, parts.uploads, joined)


SubmissionDep = Annotated[PendingSubmission, Depends(read_submission)]
PreprocessDep = Annotated[PendingSubmission, Depends(read_preprocess)]


def submit(
    services: Services,
    caller: Key,
    submission: Submission,
    request_id: str | None = None,
    guard: IdempotencyGuard | None = None,
) -> str:
    """Write the record and queue the first job. The id of the request, a new one by default.

    Raises InvalidRequest for a custom size that no worker can make, a result that would take too
    long, an unknown LoRA, a URL that is too long or a picture that is too large; RateLimited and
    QuotaExceeded when the owner's waiting pictures hold too many bytes; InsufficientCredits,
    RedisError, BlobsUnavailable and IdempotencyKeyTaken.
    """
    pictures = submission.pictures
    for picture in pictures:
        check_picture(services, picture)
    if not submission.body.use_input_img_dimension:
        check_size(services, submission.body)
    loras = loras_of(services, submission.body.loras)
    if not submission.only_map:
        check_time(services, submission.body, pictures[0])
    request_id = request_id or secrets.token_hex(16)
    note(request_id=request_id)
    seed = submission.body.seed
    if seed == -1:
        seed = secrets.randbelow(_RANDOM_SEEDS)
    params = submission.body.parameters(seed=seed, only_map=submission.only_map)
    params = replace(params, loras=loras)
    expected = expected_work(params, caller, pictures[0], services)
    expires_at = services.requests.expiry()
    store_pictures(services, caller.name, request_id, pictures, expires_at)
    source, *further_sources = (picture.source for picture in pictures)
    stage = first_stage(services, pictures)
    try:
        services.requests.submit(
            request_id,
            caller.name,
            params,
            source,
            expires_at,
            webhook=submission.webhook,
            account=account_of(caller, expected, services),
            guard=guard or IdempotencyGuard(),
            stage=stage,
            further_sources=further_sources,
            warnings=submission.warnings,
            expected=expected,
        )
        _enqueue(services, request_id, stage, published=guard is not None)
    except (InsufficientCredits, IdempotencyKeyTaken):
        drop_pictures(services, caller.name, request_id, len(pictures))
        raise
    except (RedisError, BlobsUnavailable):
        # No client knows this id yet. A full Redis needs the memory of the picture at once.
        services.requests.forget(request_id)
        drop_pictures(services, caller.name, request_id, len(pictures))
        raise
    return request_id


def _enqueue(services: Services, request_id: str, stage: Stage, *, published: bool) -> None:
    """Queue the first job. published: other calls may have read the id from the Idempotency-Key.
    Then the record stays without a job, and app/core/lifecycle/recovery.py queues it."""
    try:
        services.jobs.enqueue(request_id, stage)
    except RedisError as error:
        if not published:
            raise
        log.warning("request %s: not queued, left to the next sweep: %s", request_id, error)
