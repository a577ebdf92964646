"""The PNG files of the control maps, extra outputs of a request.

Compressing one takes longer than the rest of the finish job. So the prepare job compresses the maps
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
    """Store the files of the maps that prepare has made."""
    record = context.requests.get(request_id)
    if record is None or record.status.terminal or record.only_map:
        return
    for control, is_map in enumerate(record.are_maps or ()):
        if is_map:
            _store(context, record, control)


def _store(context: Runtime, record: RequestRecord, control: int) -> None:
    pixels = context.blobs.get(keys.control_blob(record.id, control))
    if pixels is None or record.width is None or record.height is None:
        return
    picture = Image.frombytes("RGB", generated_size((record.width, record.height)), pixels)
    name = _name(record.id, control)
    context.blobs.put(name, encode(picture, "png", 100), record.expires_at)
    ended = context.requests.get(record.id)
    if ended is not None and ended.status is Status.FAILED:  # after its clean-up ran
        context.blobs.delete(name)


def map_file(
    context: Runtime, record: RequestRecord, control: int, control_map: Image.Image
) -> bytes:
    """The file, compressed now unless store_early() has stored it."""
    return context.blobs.get(_name(record.id, control)) or encode(control_map, "png", 100)


def _name(request_id: str, control: int) -> str:
    return keys.output_blob(request_id, keys.map_name(control))
