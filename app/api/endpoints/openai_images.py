"""OpenAI's images API on the same queue: edits and generations, which wait as v1 does, and the list
of models.
"""

from __future__ import annotations

from functools import partial

from fastapi import APIRouter, Depends, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, Response

from app.api.auth import Submitter, authenticate
from app.api.deps import Services, ServicesDep
from app.api.endpoints.v1 import answer_at_the_end, picture_headers
from app.api.http.origin import public_origin
from app.api.middleware.body_budget import release_body
from app.api.rate_limit import RateWindow
from app.api.submission.idempotency import IdempotencyKey, submit_once
from app.api.submission.openai_fields import ImagesDep, PendingImages
from app.api.wire.openai import (
    SHOULD_RETRY,
    Image,
    ImagesResponse,
    Model,
    ModelList,
    OpenAIErrorResponse,
    images_body,
    no_usage,
    openai_error_response,
    openai_status,
)
from app.api.wire.openapi import KEYED, PICTURE, Responses
from app.api.wire.results import encoded_outputs, output_link
from app.api.wire.warning_header import warning_headers
from app.core.accounts.api_keys import Key
from app.core.errors import NotFound
from app.core.requests.record import RequestRecord, Status

router = APIRouter(tags=["openai"])


def _in_their_shape(responses: Responses) -> Responses:
    """The errors among the responses; those of a head that cannot be read stay in our shape."""
    always: Responses = {
        400: {"description": "Not a valid request"},
        500: {"description": "A defect of the server"},
        503: {"description": "Temporarily unavailable"},
    }
    return {
        status: {"description": response["description"], "model": OpenAIErrorResponse}
        for status, response in (always | responses).items()
        if int(status) >= 400
    }


_IMAGES: Responses = {
    **_in_their_shape(PICTURE),
    200: {
        "description": "The pictures",
        "model": ImagesResponse,
        "headers": PICTURE[200]["headers"],
    },
}
_MODELS: Responses = _in_their_shape(KEYED)


@router.post("/v1/images/edits", responses=_IMAGES, openapi_extra=images_body())
@router.post("/v1/images/generations", responses=_IMAGES, openapi_extra=images_body())
async def make_images(
    request: Request,
    services: ServicesDep,
    caller: Submitter,
    images: ImagesDep,
    key: IdempotencyKey,
) -> Response:
    """Make pictures along a control picture and answer with all of them."""
    origin = public_origin(request, services.settings)
    request_id = await run_in_threadpool(_submit, services, caller, images, key)
    release_body(request)
    answer = partial(_answer, window=request.state.rate_window, origin=origin)
    response = await answer_at_the_end(
        request, services, request_id, answer, returns=key is not None
    )
    if response.status_code >= 400:
        # The request goes on. Only with the key a repeated call waits for the same request.
        response.headers.setdefault(SHOULD_RETRY, "false" if key is None else "true")
    return response


@router.get("/v1/models", responses=_MODELS, dependencies=[Depends(authenticate)])
async def list_models(services: ServicesDep) -> ModelList:
    """The checkpoint that this server serves."""
    return {"object": "list", "data": [_model(services)]}


@router.get(
    "/v1/models/{model}",
    responses=_in_their_shape({**KEYED, 404: {"description": "Another model"}}),
    dependencies=[Depends(authenticate)],
)
async def one_model(services: ServicesDep, model: str) -> Model:
    """The same, by its name."""
    if model != services.settings.checkpoint:
        raise NotFound(f"The model {model[:64]} does not exist")
    return _model(services)


def _submit(services: Services, caller: Key, images: PendingImages, key: str | None) -> str:
    with images.own.errors_by_their_names():
        return submit_once(services, caller, images.submission.take(), key)


def _answer(
    services: Services, record: RequestRecord, *, window: RateWindow | None, origin: str
) -> Response:
    if record.status is Status.FAILED:
        headers = {"x-request-id": record.id, SHOULD_RETRY: "false", **warning_headers(record)}
        return openai_error_response(str(record.error), openai_status(record.error_status), headers)
    first = record.outputs[0]
    body: ImagesResponse = {
        "created": int(record.ended_at or record.created_at),
        "data": _images(services, record, origin),
        "background": "opaque",
        "output_format": record.params.image_format,
        "size": f"{first.width}x{first.height}",
        "usage": no_usage(),
    }
    return JSONResponse(body, headers=picture_headers(record, window))


def _images(services: Services, record: RequestRecord, origin: str) -> list[Image]:
    if record.params.base64:
        return [{"b64_json": text} for text in encoded_outputs(services.blobs, record)]
    return [
        {"url": output_link(services.links, record, index, origin)}
        for index in range(len(record.outputs))
    ]


def _model(services: Services) -> Model:
    name = services.settings.checkpoint
    return {"id": name, "object": "model", "created": 0, "owned_by": "flux-controlnet"}
