"""A record as the JSON bodies of the wire. Pure: reads no Redis but the picture bytes that a body
may have to carry, and decides no HTTP status.
"""

from __future__ import annotations

import base64
from typing import Any

from app.api.services import Services
from app.core.errors import NotFound
from app.core.links import output_path
from app.core.requests import RequestRecord, Status

FREE = 0.0
"""Credits a request costs: keys have no budget yet, so nothing is charged."""


def submitted_body(request_id: str, origin: str) -> dict[str, Any]:
    """The answer of POST /v2/flux-controlnet: exactly these five keys."""
    return {
        "request_id": request_id,
        "status": Status.QUEUED.value,
        "poll_url": f"{origin}/v1/requests/{request_id}",
        **_urls(request_id, origin),
    }


def status_body(record: RequestRecord, origin: str) -> dict[str, Any]:
    """The answer of GET /v2/requests/{id}/status."""
    if record.status is Status.FAILED:
        return failed_body(record)
    body: dict[str, Any] = {
        "status": record.status.value,
        "request_id": record.id,
        **_urls(record.id, origin),
        "metrics": metrics(record),
    }
    if record.status is Status.PROCESSING:
        body["progress"] = {"step": record.step, "steps": record.steps}
    return body


def failed_body(record: RequestRecord) -> dict[str, Any]:
    return {
        "status": Status.FAILED.value,
        "request_id": record.id,
        "error": record.error,
        "metrics": metrics(record),
    }


def result_body(services: Services, record: RequestRecord, origin: str) -> dict[str, Any]:
    """The answer of GET /v2/requests/{id} for a COMPLETED request."""
    links = [output_link(services, record, index, origin) for index in range(len(record.outputs))]
    output: Any = links[0]
    if record.params["base64"]:
        encoded = encoded_outputs(services, record)
        output = encoded if len(encoded) > 1 else encoded[0]
    images = [
        {
            "url": link,
            "content_type": made["content_type"],
            "file_name": made["file_name"],
            "file_size": made["file_size"],
            "width": made["width"],
            "height": made["height"],
            "seed": str(made["seed"]),
        }
        for link, made in zip(links, record.outputs, strict=True)
    ]
    return {
        "status": Status.COMPLETED.value,
        "error": None,
        "request_id": record.id,
        "output": output,
        "images": images,
        "seed": str(record.params["seed"]),
        "prompt": record.params["prompt"],
        "timings": {"inference": record.inference_s},
        "metrics": metrics(record),
    }


def metrics(record: RequestRecord) -> dict[str, Any]:
    """Seconds and counts; empty until the request has ended."""
    if not record.status.terminal:
        return {}
    common = {
        "inference_time": round(record.inference_s or 0.0, 6),
        "queue_time": round(record.queue_s, 6),
        "work_units": record.work,
    }
    if record.status is Status.FAILED:
        return common
    return {
        **common,
        "total_time": round(record.total_s, 6),
        "cost": FREE,
        "remaining_credits": None,
        "model_evaluations": record.evaluations,
        "controlled_evaluations": record.controlled,
        "profile": record.profile,
    }


def output_bytes(services: Services, record: RequestRecord, index: int) -> bytes:
    data = services.blobs.get(f"{record.id}:output:{index}")
    if data is None:
        raise NotFound(f"Request {record.id} not found")
    return data


def encoded_outputs(services: Services, record: RequestRecord) -> list[str]:
    """Every picture as base64 without a prefix."""
    return [
        base64.b64encode(output_bytes(services, record, index)).decode()
        for index in range(len(record.outputs))
    ]


def output_link(services: Services, record: RequestRecord, index: int, origin: str) -> str:
    path = output_path(record.id, record.outputs[index]["file_name"])
    return origin + services.links.sign(path, int(record.expires_at))


def _urls(request_id: str, origin: str) -> dict[str, str]:
    return {
        "status_url": f"{origin}/v2/requests/{request_id}/status",
        "response_url": f"{origin}/v2/requests/{request_id}",
    }
