"""The blobs that the jobs of a request hand to each other, and what becomes of them at its end."""

from __future__ import annotations

from app.core.redis import keys
from app.core.requests.record import Status
from app.core.requests.store import RequestStore
from app.core.storage.base import Blobs
from models.spec import SAMPLES_MAX


def delete_temporary_blobs(requests: RequestStore, blobs: Blobs, request_id: str) -> None:
    """Forget what nobody will ask for after the end of a request; finished pictures stay."""
    record = requests.get(request_id)
    names = [
        keys.source_blob(request_id),
        keys.control_blob(request_id),
        keys.map_blob(request_id),
        *(keys.pixels_blob(request_id, index) for index in range(SAMPLES_MAX)),
    ]
    if record is not None:
        names += [name for name, _ in record.kept.get("chunks", ())]
        if record.status is Status.FAILED:  # while its pictures were being written
            names += [
                *(keys.output_blob(request_id, index) for index in range(SAMPLES_MAX)),
                keys.output_blob(request_id, "map"),
            ]
    blobs.delete(*names)
