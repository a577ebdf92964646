"""Pictures and control maps behind signed links: no key needed, and no link can be made up."""

from __future__ import annotations

import time

from fastapi import APIRouter
from fastapi.responses import Response

from app.api.openapi import FOUND, PICTURE_FILE
from app.api.services import ServicesDep
from app.core.errors import NotFound
from app.core.links import output_path

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
    record = services.requests.get(request_id)
    files = (*record.outputs, record.control_map) if record else ()
    made = next((made for made in files if made and made["file_name"] == file_name), None)
    if made is not None:
        data = services.blobs.get(f"{request_id}:output:{file_name.partition('.')[0]}")
        if data is not None:
            # It never changes, but whoever has the link may not have it longer than the server.
            life = max(0, int(exp) - int(time.time()))
            kept = {"cache-control": f"private, max-age={life}, immutable"}
            return Response(data, media_type=made["content_type"], headers=kept)
    raise missing
