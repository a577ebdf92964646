"""The signed receipt of a finished request (app.core.receipts)."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from app.api.deps import LinksDep, ReceiptsDep, SettingsDep
from app.api.endpoints.v2 import OwnRecord
from app.api.http.origin import public_origin
from app.api.wire.openapi import FOUND, KEYED
from app.api.wire.responses import ReceiptResponse
from app.api.wire.results import file_link
from app.core.errors import NotFound
from app.core.receipts import ALGORITHM, receipt_of
from app.core.requests.record import Status

router = APIRouter(tags=["v2"])


@router.get(
    "/v2/requests/{request_id}/receipt",
    responses={200: {"model": ReceiptResponse}, **KEYED, **FOUND},
)
async def request_receipt(
    request: Request,
    settings: SettingsDep,
    links: LinksDep,
    signer: ReceiptsDep,
    record: OwnRecord,
) -> JSONResponse:
    """Parameters, seeds, weights, libraries, device and hashes; 404 until the request is
    COMPLETED, and for a control map alone."""
    origin = public_origin(request, settings)
    if record.status is not Status.COMPLETED or record.provenance is None:
        raise NotFound(f"Request {record.id} has no receipt; only a COMPLETED picture has one")
    map_links = [file_link(links, record, of.file_name, origin) for of in record.control_maps]
    receipt = receipt_of(record, map_links)
    signature = {"algorithm": ALGORITHM, "value": signer.sign(receipt)}
    return JSONResponse({"receipt": receipt, "signature": signature})
