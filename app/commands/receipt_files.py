"""A receipt as a file: the JSON that GET /v2/requests/{id}/receipt answered with, or a picture that
carries its own. Reads and verifies; who submits it again is app.commands.replay.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.commands.extras import needs_extra
from app.core.receipts import ReceiptSigner, digest


@dataclass(frozen=True, slots=True)
class Statement:
    """What a file says about pictures. content: what was signed. found: SHA-256 of the file and of
    the pixels that the file itself holds, None for a JSON receipt.
    """

    content: Mapping[str, Any]
    signature: object
    found: Mapping[str, str] | None = None

    @property
    def outputs(self) -> list[Mapping[str, Any]]:
        """Name and hashes of each picture."""
        if self.found is not None:
            return [{"file_name": "picture", **self.found}]
        return list(self.content["outputs"])

    def fault(self, signer: ReceiptSigner) -> str | None:
        """Why it is not to be believed; None when it is."""
        if not signer.genuine(self.content, self.signature):
            return "the signature is not this installation's, or something was changed"
        if self.found and self.found["pixels_sha256"] != self.content["pixels_sha256"]:
            return "the pixels are not the ones that were signed"
        return None


def read_statement(file: Path) -> Statement:
    """Raises ValueError with one sentence when the file holds no receipt, and when it is no JSON
    and Pillow is not installed; OSError when the file cannot be read.
    """
    data = file.read_bytes()
    if data.lstrip()[:1] == b"{":
        return _from_json(data)
    return _from_picture(file.name, data)


def _from_picture(name: str, data: bytes) -> Statement:
    with needs_extra("worker"):
        from PIL import Image, UnidentifiedImageError

        from app.core.images.metadata import embedded
    try:
        with Image.open(io.BytesIO(data)) as picture:
            picture.load()
            text, pixels = embedded(picture), digest(picture.tobytes())
    except UnidentifiedImageError:
        raise ValueError(f"{name} is neither a receipt nor a picture") from None
    except (OSError, SyntaxError, Image.DecompressionBombError):
        raise ValueError(f"{name} is a damaged picture") from None
    if text is None:
        raise ValueError(f"{name} is a picture that carries no receipt")
    content = _object(text)
    signature = content.pop("signature", None)
    return Statement(content, signature, {"sha256": digest(data), "pixels_sha256": pixels})


def _from_json(data: bytes) -> Statement:
    whole = _object(data)
    content, signature = whole.get("receipt"), whole.get("signature")
    if not isinstance(content, dict) or not isinstance(signature, dict):
        raise ValueError("the JSON is no receipt: it needs the keys receipt and signature")
    return Statement(content, signature.get("value"))


def _object(text: str | bytes) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise ValueError("the receipt is not a JSON object")
    return found
