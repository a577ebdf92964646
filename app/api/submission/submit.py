"""Turns an HTTP body into a queued request: content type, validation, record, first job."""

from __future__ import annotations

import logging
import secrets
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Request
from fastapi.concurrency import run_in_threadpool
from redis.exceptions import RedisError

from app.api.auth import Submitter
from app.api.deps import Services, ServicesDep
from app.api.parsing.forms import read_form
from app.api.parsing.json_body import read_json, shortened
from app.api.parsing.json_scan import LongString
from app.api.parsing.media_type import media_type_of
from app.api.submission.body_warnings import pair_warnings, unknown_parameters
from app.api.submission.limits import check_size, check_time
from app.api.submission.pricing import account_of
from app.api.submission.webhook import webhook_of
from app.api.wire.requests import (
    PICTURE_FIELDS,
    FluxControlNetBody,
    PreprocessBody,
    parse_body,
    without_empty,
)
from app.core.accounts.api_keys import Key
from app.core.egress.urls import MAX_LENGTH as URL_MAX
from app.core.errors import (
    BlobsUnavailable,
    InsufficientCredits,
    InvalidContentType,
    InvalidRequest,
)
from app.core.images.data_uri import decoded_size
from app.core.redis import keys
from app.core.requests.record import Stage
from app.core.requests.store import IdempotencyGuard, IdempotencyKeyTaken
from app.core.requests.types import Source, SourceKind, WebhookTarget
from app.core.requests.warnings import RequestWarning
from app.core.telemetry.logs import note

log = logging.getLogger(__name__)

_ELSEWHERE = "base64"  # stands in the body for a long picture
_RANDOM_SEEDS = 999_999_999_999_999  # the range from which the hosted service draws seeds


@dataclass(frozen=True, slots=True)
class Submission:
    """A valid body. upload: the bytes of its picture if that came as a file. inline: its picture as
    base64 if that is long; the body has _ELSEWHERE instead. only_map: the client wants the control
    map alone; the body's parameters of a picture are defaults then. warnings: about the body.
    """

    body: FluxControlNetBody
    upload: bytes | None
    inline: bytes | None = None
    webhook: WebhookTarget | None = None
    only_map: bool = False
    warnings: tuple[RequestWarning, ...] = ()

    @property
    def field(self) -> str:
        """The parameter that holds the picture."""
        return "control_image" if self.body.control_image else "image"

    @property
    def picture(self) -> str:
        """The value of that parameter: a URL or base64. Not to be read when there is an upload."""
        return self.body.control_image or self.body.image

    @property
    def encoded(self) -> bytes:
        """The picture as base64, if it is neither a file nor a URL."""
        return self.picture.encode() if self.inline is None else self.inline

    @property
    def by_url(self) -> bool:
        return "://" in self.picture[:16]


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
    fields, uploads, inline = await _read_fields(request, services)
    body = parse_body(FluxControlNetBody, fields)
    field = "control_image" if body.control_image else "image"
    webhook = webhook_of(request, services.settings, body.webhook_url, caller)
    inline_picture = await _joined(inline.get(field))
    warnings = (*pair_warnings(body), *unknown_parameters(fields))
    submission = Submission(body, uploads.get(field), inline_picture, webhook, warnings=warnings)
    return PendingSubmission(submission)


async def read_preprocess(
    request: Request,
    services: ServicesDep,
    caller: Submitter,  # noqa: ARG001  # FastAPI checks the key first, so no stranger's body is read
) -> PendingSubmission:
    """read_submission() for a body that asks for a control map."""
    fields, uploads, inline = await _read_fields(request, services)
    map_body = parse_body(PreprocessBody, fields)
    # A map has neither seed nor steps, but all requests have the same record.
    body = FluxControlNetBody.model_construct(
        **map_body.model_dump(), prompt="", seed=0, image_format="png", steps=0
    )
    inline_picture = await _joined(inline.get("image"))
    submission = Submission(
        body,
        uploads.get("image"),
        inline_picture,
        only_map=True,
        warnings=unknown_parameters(fields),
    )
    return PendingSubmission(submission)


async def _read_fields(
    request: Request, services: Services
) -> tuple[dict[str, Any], dict[str, bytes], dict[str, LongString]]:
    """The fields of a body of either type, the bytes of its files, and its long base64."""
    media_type = media_type_of(request)
    uploads: dict[str, bytes] = {}
    if media_type == "application/json":
        fields = await read_json(request)
    elif media_type == "multipart/form-data":
        fields, uploads = await read_form(request, services.settings.max_body_bytes)
        fields = without_empty(fields)
    else:
        raise InvalidContentType
    inline = {
        name: value
        for name, value in fields.items()
        if name in PICTURE_FIELDS and isinstance(value, LongString) and value.may_be_base64
    }
    return shortened(fields) | dict.fromkeys(inline, _ELSEWHERE), uploads, inline


async def _joined(text: LongString | None) -> bytes | None:
    """Joins in a thread: it copies the whole text, and bytes.join releases the GIL."""
    return None if text is None else await run_in_threadpool(text.to_bytes)


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
    long, a URL that is too long or a picture that is too large; RateLimited and QuotaExceeded when
    the owner's waiting pictures hold too many bytes; InsufficientCredits, RedisError,
    BlobsUnavailable and IdempotencyKeyTaken.
    """
    _check_picture(services, submission)
    if not submission.body.use_input_img_dimension:
        check_size(services, submission.body)
    if not submission.only_map:
        check_time(services, submission.body, submission.upload, submission.inline)
    request_id = request_id or secrets.token_hex(16)
    note(request_id=request_id)
    seed = submission.body.seed
    if seed == -1:
        seed = secrets.randbelow(_RANDOM_SEEDS)
    params = submission.body.parameters(seed=seed, only_map=submission.only_map)
    account = account_of(
        caller,
        submission.body,
        submission.upload,
        services,
        inline=submission.inline,
        only_map=submission.only_map,
    )
    expires_at = services.requests.expiry()
    source = _store_source(services, caller.name, request_id, submission, expires_at)
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
            guard=guard or IdempotencyGuard(),
            stage=stage,
            warnings=submission.warnings,
        )
        _enqueue(services, request_id, stage, published=guard is not None)
    except (InsufficientCredits, IdempotencyKeyTaken):
        _drop_source(services, caller.name, request_id)
        raise
    except (RedisError, BlobsUnavailable):
        # No client knows this id yet. A full Redis needs the memory of the picture at once.
        services.requests.forget(request_id)
        _drop_source(services, caller.name, request_id)
        raise
    return request_id


def _first_stage(services: Services, source: Source) -> Stage:
    """FETCH for a picture on another server. PREPARE reads stored pictures itself."""
    url = source.url
    if url is None or services.links.own_output(url) or services.links.own_upload(url):
        return Stage.PREPARE
    return Stage.FETCH


def _enqueue(services: Services, request_id: str, stage: Stage, *, published: bool) -> None:
    """Queue the first job. published: other calls may have read the id from the Idempotency-Key.
    Then the record stays without a job, and app/core/lifecycle/recovery.py queues it."""
    try:
        services.jobs.enqueue(request_id, stage)
    except RedisError as error:
        if not published:
            raise
        log.warning("request %s: not queued, left to the next sweep: %s", request_id, error)


def _check_picture(services: Services, submission: Submission) -> None:
    """Raises InvalidRequest for a URL that is too long and for a file that is too large, before the
    picture is stored."""
    most = services.settings.max_image_bytes
    if submission.upload is not None:
        size = len(submission.upload)
    elif submission.by_url:
        if len(submission.picture) > URL_MAX:
            raise InvalidRequest(f"{submission.field}: a URL has at most {URL_MAX} characters")
        return
    else:
        size = len(submission.encoded) * 3 // 4  # upper bound
        if size > most:
            size = decoded_size(submission.encoded)
    if size > most:
        raise InvalidRequest(f"{submission.field}: {size} bytes; at most {most} are allowed")


def _store_source(
    services: Services, owner: str, request_id: str, submission: Submission, expires_at: float
) -> Source:
    """Stores the bytes of the picture in a blob, so that the record stays small."""
    if submission.upload is None and submission.by_url:
        return Source(submission.field, SourceKind.URL, submission.picture)
    kind = SourceKind.BASE64 if submission.upload is None else SourceKind.FILE
    data = submission.encoded if submission.upload is None else submission.upload
    services.sources.hold(owner, request_id, len(data), expires_at)
    try:
        services.blobs.put(keys.source_blob(request_id), data, expires_at)
    except (RedisError, BlobsUnavailable):
        _drop_source(services, owner, request_id)
        raise
    return Source(submission.field, kind)


def _drop_source(services: Services, owner: str, request_id: str) -> None:
    services.blobs.delete(keys.source_blob(request_id))
    services.sources.release(owner, request_id)
