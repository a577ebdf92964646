"""The PNG file of the control map, an extra output of a request.

Compressing it takes longer than the rest of the finish job. So the prepare job compresses the maps
that it has made itself, while the GPU generates the picture.
"""

from __future__ import annotations

from PIL import Image

from app.core.images.encode import encode
from app.core.redis import keys
from app.core.requests.record import RequestRecord, Status
from models.geometry import generated_size
from worker.runtime import Runtime


def store_early(context: Runtime, request_id: str) -> None:
    """Store the map's file after prepare, if prepare has made the map."""
    record = context.requests.get(request_id)
    if record is None or record.status.terminal or record.only_map or not record.annotated:
        return
    pixels = context.blobs.get(keys.control_blob(request_id))
    if pixels is None or record.width is None or record.height is None:
        return
    picture = Image.frombytes("RGB", generated_size((record.width, record.height)), pixels)
    context.blobs.put(_name(request_id), encode(picture, "png", 100), record.expires_at)
    ended = context.requests.get(request_id)
    if ended is not None and ended.status is Status.FAILED:  # after its clean-up ran
        context.blobs.delete(_name(request_id))


def map_file(context: Runtime, record: RequestRecord, control_map: Image.Image) -> bytes:
    """The file, compressed now unless store_early() has stored it."""
    return context.blobs.get(_name(record.id)) or encode(control_map, "png", 100)


def _name(request_id: str) -> str:
    return keys.output_blob(request_id, "map")
