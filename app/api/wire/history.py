"""The JSON of history rows: the keys that the hosted service's client documents, then our own.

Reads nothing; decides no HTTP status.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from typing import Any, NotRequired

from typing_extensions import TypedDict

from app.api.wire.fields import schema_of
from app.api.wire.requests import FluxControlNetBody
from app.core.clock import rfc3339
from app.core.history.base import MODEL, HistoryRow, RowStatus
from app.core.storage.links import LinkSigner, output_path
from models.loras.lora_file import LoraFile


class RowMetrics(TypedDict):
    """Seconds, and what the request was worth; null for what it did not come to."""

    inference_time: float | None
    queue_time: float
    work_units: float | None
    model_evaluations: int
    profile: str


class RequestRow(TypedDict):
    """credits_deduction: of the whole request, in each of its rows. request_body: the inputs as
    JSON, long texts cut short. generation_url: null once the picture has expired or was removed.
    latency_ms: from acceptance to the end. generation_urls: of all its pictures, where one request
    was asked for.
    """

    request_id: str
    model_name: str
    model_status: RowStatus
    credits_deduction: float
    request_body: str
    generation_url: str | None
    latency_ms: int | None
    model_created: str
    model_updated: str | None
    error: str | None
    user_id: str
    user_email: None
    output: int
    seed: str | None
    file_name: str | None
    file_size: int | None
    content_type: str | None
    width: int | None
    height: int | None
    started_at: str | None
    metrics: RowMetrics
    generation_urls: NotRequired[list[str]]


class HistoryPage(TypedDict):
    data: list[RequestRow]
    page: int
    per_page: int
    total: int
    total_pages: int


class Generation(TypedDict):
    """A picture that was made. parameters: the inputs, long texts cut short."""

    request_id: str
    generation_url: str | None
    model_name: str
    status: RowStatus
    credits_deduction: float
    latency_ms: int | None
    prompt: str | None
    parameters: dict[str, Any]
    created_at: str
    user_id: str
    user_email: None


class Generations(TypedDict):
    generations: list[Generation]
    page: int
    total: int
    total_pages: int


class Model(TypedDict):
    """parameters: the schema of the body."""

    model_name: str
    slug: str
    name: str
    description: str
    endpoints: list[str]
    parameters: dict[str, Any]


class LoraModel(TypedDict):
    """A LoRA of the server, by what its file says of itself. name: for `loras`. base_model: as its
    trainer spells it, "" if not said. rank: the largest of its layers. error: why a request with
    it will fail; null as far as the file's header tells."""

    name: str
    trigger_words: list[str]
    base_model: str
    format: str
    rank: int
    bytes: int
    sha256: str
    error: str | None


class Models(TypedDict):
    models: list[Model]
    loras: list[LoraModel]


def request_row(links: LinkSigner, row: HistoryRow, origin: str) -> RequestRow:
    picture = row.picture
    return {
        "request_id": row.request_id,
        "model_name": row.model,
        "model_status": row.status,
        "credits_deduction": row.cost,
        "request_body": json.dumps(row.inputs),
        "generation_url": _link(links, row, origin),
        "latency_ms": _latency_ms(row),
        "model_created": rfc3339(row.created_at),
        "model_updated": _moment_or_none(row.ended_at),
        "error": row.error,
        "user_id": row.owner,
        "user_email": None,
        "output": row.output,
        "seed": str(picture.seed) if picture else None,
        "file_name": picture.file_name if picture else None,
        "file_size": picture.file_size if picture else None,
        "content_type": picture.content_type if picture else None,
        "width": picture.width if picture else None,
        "height": picture.height if picture else None,
        "started_at": _moment_or_none(row.started_at),
        "metrics": {
            "inference_time": row.inference_s,
            "queue_time": round(row.queue_s, 6),
            "work_units": row.work,
            "model_evaluations": row.evaluations,
            "profile": row.profile,
        },
    }


def generation(links: LinkSigner, row: HistoryRow, origin: str) -> Generation:
    return {
        "request_id": row.request_id,
        "generation_url": _link(links, row, origin),
        "model_name": row.model,
        "status": row.status,
        "credits_deduction": row.cost,
        "latency_ms": _latency_ms(row),
        "prompt": row.inputs.get("prompt"),
        "parameters": dict(row.inputs),
        "created_at": rfc3339(row.created_at),
        "user_id": row.owner,
        "user_email": None,
    }


def models_list(loras: Iterable[LoraFile]) -> Models:
    """The one model there is, and the LoRAs for it."""
    return {
        "models": [
            {
                "model_name": MODEL,
                "slug": MODEL,
                "name": "FLUX ControlNet",
                "description": "FLUX.1-dev with a Union ControlNet: canny, depth, pose and tile.",
                "endpoints": [f"/v1/{MODEL}", f"/v2/{MODEL}"],
                "parameters": schema_of(FluxControlNetBody),
            }
        ],
        "loras": [_lora(file) for file in loras],
    }


def _lora(file: LoraFile) -> LoraModel:
    return {
        "name": file.name,
        "trigger_words": list(file.trigger_words),
        "base_model": file.base_model,
        "format": file.format,
        "rank": file.rank,
        "bytes": file.bytes,
        "sha256": file.sha256,
        "error": file.error,
    }


def _link(links: LinkSigner, row: HistoryRow, origin: str) -> str | None:
    """The signed link to the picture; None when there is no picture or it has expired."""
    expires_at = row.picture_expires_at or row.expires_at
    if row.picture is None or expires_at <= time.time():
        return None
    path = output_path(row.request_id, row.picture.file_name)
    return origin + links.sign(path, int(expires_at))


def _latency_ms(row: HistoryRow) -> int | None:
    return None if row.ended_at is None else round((row.ended_at - row.created_at) * 1000)


def _moment_or_none(seconds: float | None) -> str | None:
    return None if seconds is None else rfc3339(seconds)
