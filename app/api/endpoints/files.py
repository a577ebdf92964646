"""Downloads of pictures, control maps and uploads by signed links, without an API key."""

from __future__ import annotations

import time

from fastapi import APIRouter
from fastapi.responses import Response

from app.api.deps import BlobsDep, LinksDep, RequestsDep
from app.api.wire.openapi import FOUND, PICTURE_FILE, UPLOADED_FILE
from app.core.errors import NotFound
from app.core.redis import keys
from app.core.requests.record import RequestRecord
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
    request_id: str,
    file_name: str,
    links: LinksDep,
    requests: RequestsDep,
    blobs: BlobsDep,
    exp: str = "",
    sig: str = "",
) -> Response:
    """The picture or control map, which may outlive its request; 404 once it has expired or when
    the signature is not ours."""
    missing = NotFound(f"File {file_name} not found")
    if not links.valid(output_path(request_id, file_name), exp, sig):
        raise missing
    note(request_id=request_id)
    content_type = _content_type(requests.get(request_id), file_name)
    if content_type is not None:
        data = blobs.get(keys.output_blob(request_id, file_name.partition(".")[0]))
        if data is not None:
            return Response(data, media_type=content_type, headers=_cache_headers(exp))
    raise missing


@router.head("/uploads/{file_name}", include_in_schema=False)
@router.get(
    "/uploads/{file_name}",
    response_class=Response,
    responses={**UPLOADED_FILE, **FOUND},
)
def uploaded_file(
    file_name: str, links: LinksDep, blobs: BlobsDep, exp: str = "", sig: str = ""
) -> Response:
    """An uploaded picture; 404 once it has expired or when the signature is not ours."""
    sha256, _, kind = file_name.partition(".")
    if links.valid(upload_path(sha256, kind), exp, sig):
        data = blobs.get(keys.upload_blob(sha256))
        if data is not None:
            return Response(data, media_type=KINDS[kind], headers=_cache_headers(exp))
    raise NotFound(f"File {file_name} not found")


def _content_type(record: RequestRecord | None, file_name: str) -> str | None:
    """Of a file whose link is genuine; None when its request has no such file. Without a record the
    suffix says it: only links to finished files are signed."""
    if record is None:
        return KINDS.get(file_name.partition(".")[2])
    pictures = (picture for picture in record.pictures if picture.file_name == file_name)
    return next((picture.content_type for picture in pictures), None)


def _cache_headers(exp: str) -> dict[str, str]:
    """A file never changes, but a cache must not keep it longer than the server does."""
    life = max(0, int(exp) - int(time.time()))
    return {"cache-control": f"private, max-age={life}, immutable"}
