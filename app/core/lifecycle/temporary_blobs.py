"""The blobs that the jobs of a request hand to each other, and what becomes of them at its end."""

from __future__ import annotations

from app.core.requests.record import Status
from app.core.requests.store import RequestStore
from app.core.storage.base import Blobs
from models.spec import SAMPLES_MAX


def drop_leftovers(requests: RequestStore, blobs: Blobs, request_id: str) -> None:
    """Forget what nobody will ask for after the end of a request; finished pictures stay."""
    record = requests.get(request_id)
    names = [f"{request_id}:{name}" for name in ("source", "control", "map")]
    names += _one_a_sample(request_id, "pixels")
    if record is not None:
        names += [name for name, _ in record.kept.get("chunks", ())]
        if record.status is Status.FAILED:  # while its pictures were being written
            names += [*_one_a_sample(request_id, "output"), f"{request_id}:output:map"]
    blobs.delete(*names)


def _one_a_sample(request_id: str, kind: str) -> list[str]:
    return [f"{request_id}:{kind}:{index}" for index in range(SAMPLES_MAX)]
