"""Clean-up of the temporary blobs that the jobs of a request pass to each other."""

from __future__ import annotations

from app.core.redis import keys
from app.core.requests.record import Status
from app.core.requests.store import RequestStore
from app.core.storage.base import Blobs
from app.core.storage.stored_outputs import output_blobs
from models.spec import CONTROLS_MAX, SAMPLES_MAX


def delete_temporary_blobs(requests: RequestStore, blobs: Blobs, request_id: str) -> None:
    """Delete the temporary blobs of an ended request; finished pictures stay."""
    record = requests.get(request_id)
    controls = range(CONTROLS_MAX if record is None else len(record.params.all_controls))
    names = [
        *(keys.source_blob(request_id, index) for index in controls),
        *(keys.control_blob(request_id, index) for index in controls),
        *(keys.map_blob(request_id, index) for index in controls),
        *(keys.pixels_blob(request_id, index) for index in range(SAMPLES_MAX)),
    ]
    if record is not None:
        names += [name for name, _ in record.saved_work.chunks]
        if record.status is Status.FAILED:  # perhaps while its pictures were written
            names += output_blobs(request_id, len(controls))
    blobs.delete(*names)
