"""Last job, on a cpu worker: crop, encode and deliver; the request is COMPLETED afterwards.

Never imports torch; the pixels come from the gpu worker as raw bytes.
"""

from __future__ import annotations

from PIL import Image

from app.core.errors import GenerationFailed
from app.core.images import content_type, encode
from app.core.leftovers import drop_leftovers
from app.core.requests import RequestRecord, Stage
from models.geometry import centred_box, generated_size
from models.spec import image_seed
from worker.runtime import Runtime, runtime
from worker.stage import Fields, run_stage


def finish(request_id: str) -> None:
    """RQ job: blobs `ID:pixels:i` -> blobs `ID:output:i` and the outputs in the record."""
    if run_stage(request_id, Stage.FINISH, _finish):
        _afterwards(runtime(), request_id)


def _afterwards(context: Runtime, request_id: str) -> None:
    drop_leftovers(context.requests, context.blobs, request_id)
    record = context.requests.get(request_id)
    if record is not None:
        context.measurements.add(record)


def _finish(context: Runtime, record: RequestRecord, _execution: str) -> Fields:
    params = record.params
    outputs = []
    for index in range(params["samples"]):
        picture = _picture(context, record, index)
        data = encode(picture, params["image_format"], params["quality"])
        context.blobs.put(f"{record.id}:output:{index}", data, record.expires_at)
        outputs.append(
            {
                "file_name": f"{index}.{params['image_format']}",
                "content_type": content_type(params["image_format"]),
                "file_size": len(data),
                "width": picture.width,
                "height": picture.height,
                "seed": image_seed(params["seed"], index),
            }
        )
    return {"outputs": outputs}


def _picture(context: Runtime, record: RequestRecord, index: int) -> Image.Image:
    assert record.width is not None
    assert record.height is not None
    target = record.width, record.height
    generated = generated_size(target)
    pixels = context.blobs.get(f"{record.id}:pixels:{index}")
    if pixels is None:
        raise GenerationFailed("Internal error: the picture was lost before it was delivered")
    picture = Image.frombytes("RGB", generated, pixels)
    return picture if target == generated else picture.crop(centred_box(generated, target))
