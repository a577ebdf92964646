"""The synchronous endpoint and the older poll URL. v1 is v2 with the server waiting for the end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, Response

from app.api.auth import Submitter
from app.api.deps import Services, ServicesDep
from app.api.endpoints.account import WITHOUT_BOUND
from app.api.endpoints.v2 import OwnRecord
from app.api.endpoints.waiting import HungUp, wait_for_end
from app.api.http.origin import public_origin
from app.api.middleware.body_budget import release_body
from app.api.rate_limit import RESET_HEADER, RateWindow
from app.api.submission.idempotency import IdempotencyKey, submit_once
from app.api.submission.submit import SubmissionDep
from app.api.wire.errors import CLIENT_CLOSED_REQUEST, error_response
from app.api.wire.openapi import FOUND, KEYED, PICTURE
from app.api.wire.responses import EncodedPictures, PollFailed, PollResponse
from app.api.wire.results import encoded_outputs, output_bytes, poll_body, poll_failed
from app.api.wire.warning_header import warning_headers
from app.core.clock import rfc3339
from app.core.errors import (
    Cancelled,
    InsufficientCredits,
    RequestFailed,
    ServerError,
    SyncTimeout,
    Unavailable,
)
from app.core.lifecycle.cancellation import cancel
from app.core.requests.record import RequestRecord, Status
from app.core.telemetry.logs import note

router = APIRouter(tags=["v1"])

_GOES_ON = "the request goes on and its result can be fetched from /v2/requests"


# Clients whose base URL lacks /v1 post to the bare slug.
@router.post("/flux-controlnet", include_in_schema=False)
@router.post(
    "/v1/flux-controlnet",
    responses=PICTURE,
    response_class=Response,
)
async def make_picture(
    request: Request,
    services: ServicesDep,
    caller: Submitter,
    submission: SubmissionDep,
    key: IdempotencyKey,
) -> Response:
    """Make a picture and answer with it."""
    try:
        request_id = await run_in_threadpool(submit_once, services, caller, submission.take(), key)
    except InsufficientCredits as error:
        note(refusal=type(error).__name__)  # the error handlers do not see this error
        return JSONResponse({"error": error.text}, status_code=error.v1_status)
    release_body(request)
    answer = partial(_answer, window=request.state.rate_window)
    return await answer_at_the_end(request, services, request_id, answer, returns=key is not None)


async def answer_at_the_end(
    request: Request,
    services: Services,
    request_id: str,
    answer: Callable[[Services, RequestRecord], Response],
    *,
    returns: bool = False,
) -> Response:
    """`answer` of the record once the request has ended; 504 after SYNC_TIMEOUT_S, 503 when the
    server stops.

    returns: a client that disconnects may repeat the call, so its request is not cancelled.
    """
    try:
        ended = await wait_for_end(services, request_id, request)
    except HungUp:
        if not returns:
            await run_in_threadpool(_cancel_unbegun, services, request_id)
        return Response(status_code=CLIENT_CLOSED_REQUEST)
    except asyncio.CancelledError:  # graceful shutdown; nothing above awaits this task
        return _unanswered(request, Unavailable("The server is stopping; " + _GOES_ON), request_id)
    if ended is None:
        return _unanswered(request, SyncTimeout("Request timed out; " + _GOES_ON), request_id)
    return await run_in_threadpool(answer, services, ended)


@router.get(
    "/v1/requests/{request_id}",
    responses={
        200: {"model": PollResponse},
        **KEYED,
        **FOUND,
        422: {"description": "It FAILED", "model": PollFailed},
    },
)
async def poll_request(request: Request, services: ServicesDep, record: OwnRecord) -> JSONResponse:
    """The older poll protocol: `status` and `output` only."""
    origin = public_origin(request, services.settings)
    if record.status is Status.FAILED:
        return JSONResponse(poll_failed(record), status_code=RequestFailed.status)
    return JSONResponse(poll_body(services.links, record, origin))


def _cancel_unbegun(services: Services, request_id: str) -> None:
    reason = Cancelled("cancelled: the client hung up before the request began")
    parts = services.requests, services.jobs, services.blobs, services.background_jobs
    cancel(*parts, request_id, reason, only_queued=True)


def _unanswered(request: Request, error: ServerError, request_id: str) -> JSONResponse:
    """The response when v1 stops waiting while the request goes on."""
    response = error_response(error, request.scope["path"], request_id=request_id)
    response.headers["x-request-id"] = request_id
    return response


def failed_answer(record: RequestRecord) -> Response:
    return JSONResponse(
        {"error": record.error},
        status_code=record.error_status,
        headers={"x-request-id": record.id} | warning_headers(record),
    )


def _answer(services: Services, record: RequestRecord, window: RateWindow | None) -> Response:
    if record.status is Status.FAILED:
        return failed_answer(record)
    first = record.outputs[0]
    headers = picture_headers(record, window)
    if not record.params.base64:
        return Response(
            output_bytes(services.blobs, record, 0),
            media_type=first.content_type,
            headers=headers,
        )
    encoded = encoded_outputs(services.blobs, record)
    body: EncodedPictures = {
        "image": encoded if len(encoded) > 1 else encoded[0],
        "status": "Success",
        "infer_time": record.inference_s,
        "outputs": len(encoded),
        "image_format": record.params.image_format,
    }
    if record.params.profile:  # else only the keys of the hosted service
        body["profile"] = record.profile
    return JSONResponse(body, headers=headers)


def picture_headers(record: RequestRecord, window: RateWindow | None) -> dict[str, str]:
    """Of a response with finished pictures. window: of the key's rate limit; None without one."""
    first = record.outputs[0]
    size = {"height": first.height, "width": first.width, "samples": len(record.outputs)}
    return {
        "x-request-id": record.id,
        "x-generation-time": f"{record.inference_s:.6f}",
        "x-seed-value": str(record.params.seed),
        "x-output-count": str(len(record.outputs)),
        "x-output-metadata": json.dumps(size),
        "x-profile": record.profile,
        "x-remaining-credits": str(WITHOUT_BOUND if record.remaining is None else record.remaining),
        "x-cost": str(record.cost),
        **warning_headers(record),
        **(_next_minute() if window is None else window.headers),
    }


def _next_minute() -> dict[str, str]:
    """For a key without a rate limit. Nothing changes then, but clients read the header."""
    moment = datetime.now(UTC).replace(second=0, microsecond=0) + timedelta(minutes=1)
    return {RESET_HEADER: rfc3339(moment.timestamp())}
