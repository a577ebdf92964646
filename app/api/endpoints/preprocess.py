"""The endpoint that makes a control map alone, as generation would show it to the ControlNet.

A request like any other, with the same record and jobs; the jobs act on its parameter `only_map`.
"""

from __future__ import annotations

import json

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response

from app.api.auth import Submitter
from app.api.deps import Services, ServicesDep
from app.api.endpoints.v1 import answer_at_the_end, failed_answer
from app.api.middleware.body_budget import release_body
from app.api.submission.idempotency import IdempotencyKey, submit_once
from app.api.submission.submit import PreprocessDep
from app.api.wire.openapi import MAP
from app.api.wire.results import output_bytes
from app.api.wire.warning_header import warning_headers
from app.core.requests.record import RequestRecord, Status

router = APIRouter(tags=["v1"])


@router.post("/v1/flux-controlnet/preprocess", responses=MAP, response_class=Response)
async def make_control_map(
    request: Request,
    services: ServicesDep,
    caller: Submitter,
    submission: PreprocessDep,
    key: IdempotencyKey,
) -> Response:
    """Make a control map and answer with it; only depth and pose need a gpu."""
    request_id = await run_in_threadpool(submit_once, services, caller, submission.take(), key)
    release_body(request)
    return await answer_at_the_end(request, services, request_id, _answer, returns=key is not None)


def _answer(services: Services, record: RequestRecord) -> Response:
    if record.status is Status.FAILED:
        return failed_answer(record)
    [output] = record.outputs
    size = {"height": output.height, "width": output.width}
    headers = {"x-request-id": record.id, "x-output-metadata": json.dumps(size)}
    headers |= warning_headers(record)
    return Response(
        output_bytes(services.blobs, record, 0), media_type=output.content_type, headers=headers
    )
