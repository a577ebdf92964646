"""POST /upload-asset, in the hosted service's shape: stores data URIs, returns links."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from typing_extensions import TypedDict

from app.api.auth import Caller
from app.api.deps import AdmissionDep, LinksDep, SettingsDep, UploadsDep
from app.api.http.origin import public_origin
from app.api.parsing.json_body import read_json
from app.api.parsing.json_scan import LongString
from app.api.parsing.media_type import media_type_of
from app.api.wire.openapi import SUBMISSION
from app.core.errors import ImageRejected, InvalidContentType, InvalidRequest
from app.core.images.data_uri import decode_base64
from app.core.images.file_kinds import complaint
from app.core.storage.links import upload_path
from app.core.storage.uploads import KINDS, Upload, picture_of

router = APIRouter(tags=["files"])

MOST = 16
"""Pictures in one call."""

_NEEDED = f"data_urls: a list of 1 to {MOST} data URIs is needed"

BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["data_urls"],
                    "properties": {
                        "data_urls": {
                            "type": "array",
                            "minItems": 1,
                            "maxItems": MOST,
                            "items": {"type": "string", "minLength": 1},
                            "description": "Pictures as `data:image/...;base64,...`.",
                        }
                    },
                }
            }
        },
    }
}


class Uploaded(TypedDict):
    """file_urls: in the order of data_urls. urls: the same, the older name."""

    file_urls: list[str]
    message: str
    urls: list[str]


async def _read_fields(
    request: Request,
    admission: AdmissionDep,
    caller: Caller,  # noqa: ARG001  # FastAPI checks the key first, so no stranger's body is read
) -> dict[str, Any]:
    await admission.check_memory()
    if media_type_of(request) != "application/json":
        raise InvalidContentType("Invalid content type. Send application/json")
    return await read_json(request)


@router.post(
    "/upload-asset",
    responses={200: {"model": Uploaded}, **SUBMISSION},
    openapi_extra=BODY,
)
def upload_asset(
    request: Request,
    settings: SettingsDep,
    uploads: UploadsDep,
    signer: LinksDep,
    caller: Caller,
    fields: Annotated[dict[str, Any], Depends(_read_fields)],
) -> Uploaded:
    """Keep pictures for later requests; their links can be sent as `image`."""
    origin = public_origin(request, settings)
    pictures = _pictures(fields, settings.max_image_bytes)
    expires_at = uploads.store(caller.name, pictures)
    paths = [upload_path(picture.sha256, picture.kind) for picture in pictures]
    links = [origin + signer.sign(path, expires_at) for path in paths]
    return {"file_urls": links, "message": "Files uploaded successfully", "urls": links}


def _pictures(fields: dict[str, Any], max_bytes: int) -> list[Upload]:
    texts = fields.get("data_urls")
    if not isinstance(texts, list) or not 1 <= len(texts) <= MOST:
        raise InvalidRequest(_NEEDED)
    return [_picture(f"data_urls[{at}]", text, max_bytes) for at, text in enumerate(texts)]


def _picture(name: str, text: object, max_bytes: int) -> Upload:
    if not isinstance(text, str | LongString):
        raise InvalidRequest(f"{name}: a data URI is needed")
    try:
        data = decode_base64(text if isinstance(text, str) else text.to_bytes())
    except ImageRejected:
        raise InvalidRequest(f"{name}: not a base64 data URI") from None
    if len(data) > max_bytes:
        raise InvalidRequest(f"{name}: {len(data)} bytes; at most {max_bytes} are allowed")
    picture = picture_of(data)
    if picture is None:
        raise InvalidRequest(f"{name}: {complaint(data)}; allowed are {', '.join(KINDS)}")
    return picture
