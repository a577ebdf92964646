"""The JSON bodies that describe a record. Reads nothing but the picture bytes that a body contains;
decides no HTTP status.
"""

from __future__ import annotations

import base64

from app.api.wire.responses import (
    ControlMap,
    FailedResponse,
    Metrics,
    PollFailed,
    PollResponse,
    ResultResponse,
    StatusResponse,
    Submitted,
    WorkerState,
)
from app.core.errors import NotFound
from app.core.queueing.forecast import Forecast, GpuWorkers
from app.core.redis import keys
from app.core.requests.outputs import picture_body
from app.core.requests.record import RequestRecord, Status
from app.core.requests.types import StoredPicture
from app.core.requests.warnings import warning_bodies
from app.core.storage.base import Blobs
from app.core.storage.links import LinkSigner, output_path


def submitted_body(request_id: str, origin: str) -> Submitted:
    """The response of POST /v2/flux-controlnet: exactly these five keys."""
    return {
        "request_id": request_id,
        "status": Status.QUEUED,
        "poll_url": _poll_url(request_id, origin),
        "status_url": f"{_response_url(request_id, origin)}/status",
        "response_url": _response_url(request_id, origin),
    }


def status_body(
    record: RequestRecord, origin: str, forecast: Forecast | None
) -> StatusResponse | FailedResponse:
    """The response of GET /v2/requests/{id}/status. forecast: None for a request that has ended."""
    if record.status is Status.FAILED:
        return failed_body(record)
    body: StatusResponse = {
        "status": record.status,
        "request_id": record.id,
        "status_url": f"{_response_url(record.id, origin)}/status",
        "response_url": _response_url(record.id, origin),
        "metrics": metrics(record),
    }
    if record.status is Status.PROCESSING:
        body["progress"] = {"step": record.step, "steps": record.steps}
    if forecast is not None:
        if record.status is Status.QUEUED:
            body["queue_position"] = forecast.place(record).position
        body["eta_seconds"] = rounded(forecast.eta_s(record))
        body = {**body, **worker_state(forecast)}
    if record.warnings:
        body["warnings"] = warning_bodies(record.warnings)
    return body


def worker_state(forecast: Forecast) -> WorkerState:
    """Empty while a gpu worker is ready."""
    match forecast.workers:
        case GpuWorkers.STARTING:
            return {"gpu_worker": "starting"}
        case GpuWorkers.ABSENT:
            return {"gpu_worker": "absent"}
        case GpuWorkers.READY:
            return {}


def rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)


def failed_body(record: RequestRecord) -> FailedResponse:
    body: FailedResponse = {
        "status": Status.FAILED,
        "request_id": record.id,
        "error": str(record.error),
        "metrics": metrics(record),
    }
    if record.warnings:
        body["warnings"] = warning_bodies(record.warnings)
    return body


def poll_body(links: LinkSigner, record: RequestRecord, origin: str) -> PollResponse:
    """The response of GET /v1/requests/{id} for a request that has not FAILED."""
    assert record.status is not Status.FAILED
    body: PollResponse = {"status": record.status, "request_id": record.id, "output": ""}
    if record.status is Status.COMPLETED:
        body["output"] = output_link(links, record, 0, origin)
    elif record.status is Status.QUEUED:
        body["message"] = "Your request is queued"
        body["poll_url"] = _poll_url(record.id, origin)
    return body


def poll_failed(record: RequestRecord) -> PollFailed:
    error = str(record.error)
    return {
        "status": Status.FAILED,
        "request_id": record.id,
        "output": "",
        "error": error,
        "error_message": {"error": error},
    }


def result_body(
    links: LinkSigner, blobs: Blobs, record: RequestRecord, origin: str
) -> ResultResponse:
    """The response of GET /v2/requests/{id} for a COMPLETED request."""
    urls = [output_link(links, record, index, origin) for index in range(len(record.outputs))]
    output: str | list[str] = urls[0]
    if record.params.base64:
        encoded = encoded_outputs(blobs, record)
        output = encoded if len(encoded) > 1 else encoded[0]
    images = [picture_body(output, url) for output, url in zip(record.outputs, urls, strict=True)]
    body: ResultResponse = {
        "status": Status.COMPLETED,
        "error": None,
        "request_id": record.id,
        "output": output,
        "images": images,
        "seed": str(record.params.seed),
        "prompt": record.params.prompt,
        "timings": {"inference": record.inference_s},
        "metrics": metrics(record),
    }
    control_maps = [_map_body(links, record, of, origin) for of in record.control_maps]
    if control_maps:
        body["control_map"] = control_maps[0]
        if record.params.controls:
            body["control_maps"] = control_maps
    if record.warnings:
        body["warnings"] = warning_bodies(record.warnings)
    return body


def _map_body(
    links: LinkSigner, record: RequestRecord, control_map: StoredPicture, origin: str
) -> ControlMap:
    return {
        "url": file_link(links, record, control_map.file_name, origin),
        "content_type": control_map.content_type,
        "file_name": control_map.file_name,
        "file_size": control_map.file_size,
        "width": control_map.width,
        "height": control_map.height,
    }


def metrics(record: RequestRecord) -> Metrics:
    """Seconds and counts; empty until the request has ended."""
    if not record.status.terminal:
        return {}
    common: Metrics = {
        "inference_time": round(record.inference_s or 0.0, 6),
        "queue_time": round(record.queue_s, 6),
        "work_units": record.work,
    }
    if record.status is Status.FAILED:
        return common
    loras: Metrics = {}
    if record.params.loras:
        loras["loras"] = [
            {"name": of.name, "scale": of.scale, "sha256": of.sha256} for of in record.params.loras
        ]
    return {
        **common,
        "total_time": round(record.total_s, 6),
        "cost": record.cost,
        "remaining_credits": record.remaining,
        "model_evaluations": record.evaluations,
        "controlled_evaluations": record.controlled,
        "profile": record.profile,
        **loras,
    }


def output_bytes(blobs: Blobs, record: RequestRecord, index: int) -> bytes:
    data = blobs.get(keys.output_blob(record.id, index))
    if data is None:
        raise NotFound(f"Request {record.id} not found")
    return data


def encoded_outputs(blobs: Blobs, record: RequestRecord) -> list[str]:
    """Every picture as base64, without the prefix of a data URI."""
    return [
        base64.b64encode(output_bytes(blobs, record, index)).decode()
        for index in range(len(record.outputs))
    ]


def output_link(links: LinkSigner, record: RequestRecord, index: int, origin: str) -> str:
    return file_link(links, record, record.outputs[index].file_name, origin)


def file_link(links: LinkSigner, record: RequestRecord, file_name: str, origin: str) -> str:
    path = output_path(record.id, file_name)
    return origin + links.sign(path, int(record.files_expire_at))


def _poll_url(request_id: str, origin: str) -> str:
    return f"{origin}/v1/requests/{request_id}"


def _response_url(request_id: str, origin: str) -> str:
    return f"{origin}/v2/requests/{request_id}"
