"""The asynchronous endpoints: submit, status, result."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse

from app.api.auth import Secret, Submitter
from app.api.deps import ServicesDep
from app.api.http.origin import public_origin
from app.api.submission.idempotency import IdempotencyKey, submit_once
from app.api.submission.submit import SubmissionDep
from app.api.wire.openapi import FOUND, KEYED, SUBMISSION, Responses
from app.api.wire.responses import FailedResponse, ResultResponse, StatusResponse, Submitted
from app.api.wire.results import failed_body, result_body, status_body, submitted_body
from app.core.errors import Cancelled, NotFound, RequestFailed, Unauthorized
from app.core.lifecycle.cancellation import cancel
from app.core.queueing.forecast import Forecast
from app.core.requests.record import ID, RequestRecord, Status
from app.core.telemetry.logs import note

router = APIRouter(tags=["v2"])

OF_A_REQUEST: Responses = {
    **KEYED,
    **FOUND,
    422: {"description": "It FAILED", "model": FailedResponse},
}


async def own_record(request_id: str, services: ServicesDep, secret: Secret) -> RequestRecord:
    """The caller's request, read together with the key. Raises Unauthorized, or NotFound when the
    request is unknown, expired or of another owner.
    """
    valid_id = request_id if ID.fullmatch(request_id) else ""
    caller, record = await services.reader.key_and_record(secret, valid_id)
    if caller is None:
        raise Unauthorized
    note(request_id=valid_id, key_id=caller.id)
    if record is None or record.owner != caller.name:
        raise NotFound(f"Request {request_id[:64]} not found")
    return record


OwnRecord = Annotated[RequestRecord, Depends(own_record)]


async def forecast_for(services: ServicesDep, record: OwnRecord) -> Forecast | None:
    """The current forecast; None, without a round trip, for a request that has ended."""
    return None if record.status.terminal else await services.forecaster.current(record)


ForecastDep = Annotated[Forecast | None, Depends(forecast_for)]


@router.post("/v2/flux-controlnet", responses={200: {"model": Submitted}, **SUBMISSION})
def submit_request(
    request: Request,
    services: ServicesDep,
    caller: Submitter,
    submission: SubmissionDep,
    key: IdempotencyKey,
) -> JSONResponse:
    """Queue a picture; poll status_url until COMPLETED or FAILED, then read response_url."""
    origin = public_origin(request, services.settings)
    request_id = submit_once(services, caller, submission.take(), key)
    return JSONResponse(submitted_body(request_id, origin))


@router.get(
    "/v2/requests/{request_id}/status",
    responses={200: {"model": StatusResponse}, **OF_A_REQUEST},
)
async def request_status(
    request: Request, services: ServicesDep, record: OwnRecord
) -> JSONResponse:
    """Where a request stands; 422 when it FAILED."""
    forecast = await forecast_for(services, record)  # not a dependency: clients poll this endpoint
    origin = public_origin(request, services.settings)
    return JSONResponse(status_body(record, origin, forecast), status_code=_http_status(record))


@router.get(
    "/v2/requests/{request_id}",
    responses={200: {"model": ResultResponse | StatusResponse}, **OF_A_REQUEST},
)
def request_result(
    request: Request, services: ServicesDep, record: OwnRecord, forecast: ForecastDep
) -> JSONResponse:
    """The finished pictures; before that the status body, 422 when it FAILED."""
    origin = public_origin(request, services.settings)
    if record.status is Status.COMPLETED:
        return JSONResponse(result_body(services.links, services.blobs, record, origin))
    if record.status is Status.FAILED:
        return JSONResponse(failed_body(record), status_code=_http_status(record))
    return JSONResponse(status_body(record, origin, forecast))


@router.delete(
    "/v2/requests/{request_id}",
    responses={200: {"model": StatusResponse | FailedResponse}, **KEYED, **FOUND},
)
def cancel_request(request: Request, services: ServicesDep, record: OwnRecord) -> JSONResponse:
    """End a request that has not ended: at once while QUEUED, at its next step while PROCESSING.

    200 with the status body whenever the request does not go on, also when it had ended before:
    the body says how. So the call can be repeated, and losing the race with the end is no error.
    """
    if not record.status.terminal:
        parts = services.requests, services.jobs, services.blobs, services.background_jobs
        cancel(*parts, record.id, Cancelled())
    ended = services.requests.get(record.id)
    if ended is None:  # it has just expired
        raise NotFound(f"Request {record.id} not found")
    return JSONResponse(status_body(ended, public_origin(request, services.settings), None))


def _http_status(record: RequestRecord) -> int:
    return RequestFailed.status if record.status is Status.FAILED else 200
