"""Pictures, control maps and uploads behind signed links: no key, and no link can be made up."""

from __future__ import annotations

import time

from fastapi import APIRouter
from fastapi.responses import Response

from app.api.deps import ServicesDep
from app.api.wire.openapi import FOUND, PICTURE_FILE, UPLOADED_FILE
from app.core.errors import NotFound
from app.core.redis import keys
from app.core.storage.links import output_path, upload_path
from app.core.storage.uploads import KINDS
from app.core.telemetry.logs import note

router = APIRouter(tags=["files"])


@router.head("/files/{request_id}/{file_name}", include_in_schema=False)
@router.get(
    "/files/{request_id}/{file_name}",
    response_class=Response,
    responses={**PICTURE_FILE, **FOUND},
)
def output_file(
    request_id: str, file_name: str, services: ServicesDep, exp: str = "", sig: str = ""
) -> Response:
    """The picture or control map; 404 once the request has expired or the signature is not ours."""
    missing = NotFound(f"File {file_name} not found")
    if not services.links.valid(output_path(request_id, file_name), exp, sig):
        raise missing
    note(request_id=request_id)
    record = services.requests.get(request_id)
    files = (*record.outputs, record.control_map) if record else ()
    made = next((made for made in files if made and made["file_name"] == file_name), None)
    if made is not None:
        data = services.blobs.get(keys.output_blob(request_id, file_name.partition(".")[0]))
        if data is not None:
            return Response(data, media_type=made["content_type"], headers=_kept(exp))
    raise missing


@router.head("/uploads/{file_name}", include_in_schema=False)
@router.get(
    "/uploads/{file_name}",
    response_class=Response,
    responses={**UPLOADED_FILE, **FOUND},
)
def uploaded_file(file_name: str, services: ServicesDep, exp: str = "", sig: str = "") -> Response:
    """An uploaded picture; 404 once it has expired or when the signature is not ours."""
    sha256, _, kind = file_name.partition(".")
    if services.links.valid(upload_path(sha256, kind), exp, sig):
        data = services.blobs.get(keys.upload_blob(sha256))
        if data is not None:
            return Response(data, media_type=KINDS[kind], headers=_kept(exp))
    raise NotFound(f"File {file_name} not found")


def _kept(exp: str) -> dict[str, str]:
    """It never changes, but whoever has the link may not have it longer than the server."""
    life = max(0, int(exp) - int(time.time()))
    return {"cache-control": f"private, max-age={life}, immutable"}
