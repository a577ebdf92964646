"""The playground: the page at `/` and its files, served from `app/playground` without an API key.

Knows nothing of what the page does. The page itself calls the API as any client does, with a key.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import PurePosixPath

from fastapi import APIRouter, Request
from fastapi.responses import Response

from app.api.wire.fields import schema_of
from app.api.wire.requests import FluxControlNetBody
from app.core.errors import NotFound
from app.core.settings import Settings
from models.control_types import served_types
from models.evaluations import CONTROL_SHARES, evaluations_of
from models.spec import SAMPLER_NAMES

PAGE_POLICY = "; ".join(
    (
        *("default-src 'none'", "script-src 'self'", "style-src 'self'"),
        *("img-src 'self' blob: data:", "connect-src 'self'"),
        *("base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"),
    )
)
"""Content-Security-Policy of the page. The default one (app.api.http.headers) allows no script."""

_PAGE = "index.html"
_FORM = "form.json"
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".webp": "image/webp",
}
_SCHEDULE = "simple"


@dataclass(frozen=True, slots=True)
class _File:
    data: bytes
    content_type: str
    etag: str


def playground_router(settings: Settings) -> APIRouter:
    """Routes of the page. All files are read once, here: a path can name nothing else."""
    contents = dict(_contents(files("app") / "playground"))
    contents[_FORM] = _form(settings)
    site = {name: _file(name, data) for name, data in contents.items()}
    router = APIRouter(include_in_schema=False)

    @router.head("/")
    @router.get("/")
    async def page(request: Request) -> Response:
        """The page. Its links are relative, so it works below the path of PUBLIC_URL."""
        return _response(request, site[_PAGE], {"content-security-policy": PAGE_POLICY})

    @router.head("/playground/{name:path}")
    @router.get("/playground/{name:path}")
    async def file(request: Request, name: str) -> Response:
        """A style sheet, module, sample or form.json."""
        if name == _PAGE or name not in site:
            raise NotFound(f"Not found: {request.url.path}")
        return _response(request, site[name], {})

    return router


def _contents(folder: Traversable, prefix: str = "") -> Iterator[tuple[str, bytes]]:
    """(path below the folder, bytes) of every file that has a known type."""
    for entry in folder.iterdir():
        name = prefix + entry.name
        if entry.is_dir():
            yield from _contents(entry, f"{name}/")
        elif PurePosixPath(name).suffix in _TYPES:
            yield name, entry.read_bytes()


def _form(settings: Settings) -> bytes:
    """form.json: the schema of the body, as /openapi.json (which may be closed) has it; the types
    of control that the checkpoint serves; and what the page needs to estimate a price: the work of
    a further control, the largest area, and evaluations of each sampler at the fewest and most
    steps."""
    schema = schema_of(FluxControlNetBody)
    steps = schema["properties"]["steps"]
    evaluations = {
        sampler: [
            evaluations_of(sampler, _SCHEDULE, steps[bound]) for bound in ("minimum", "maximum")
        ]
        for sampler in SAMPLER_NAMES
    }
    form = {
        "schema": schema,
        "control_types": served_types(settings.checkpoint),
        "control_share": CONTROL_SHARES[settings.checkpoint],
        "credits_per_work_unit": settings.credits_per_work_unit,
        "max_pixels": settings.max_pixels,
        "evaluations": evaluations,
    }
    return json.dumps(form).encode()


def _file(name: str, data: bytes) -> _File:
    etag = f'"{hashlib.sha256(data).hexdigest()[:32]}"'
    return _File(data, _TYPES[PurePosixPath(name).suffix], etag)


def _response(request: Request, file: _File, headers: dict[str, str]) -> Response:
    """200, or 304 if the client has this version."""
    headers = {**headers, "etag": file.etag, "cache-control": "no-cache"}
    known = request.headers.get("if-none-match", "")
    if file.etag in (tag.strip().removeprefix("W/") for tag in known.split(",")):
        return Response(status_code=304, headers=headers)
    return Response(file.data, media_type=file.content_type, headers=headers)
