"""Proof of how a picture was made: a text inside its file and a receipt of its request, both signed
with a secret that all processes on one Redis share.

HMAC-SHA256: only the installation that signed can verify. Knows neither HTTP nor picture files.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from typing import Any

from redis import Redis

from app.core.clock import rfc3339
from app.core.redis import keys
from app.core.requests.record import RequestRecord
from app.core.requests.types import StoredPicture
from app.core.storage.links import shared_secret

ALGORITHM = "HMAC-SHA256"
MAX_TEXT = 60_000
"""Characters of the text in a picture's file; a JPEG segment holds 65,000 at most."""


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class ReceiptSigner:
    def __init__(self, redis: Redis) -> None:
        self._secret = shared_secret(redis, keys.RECEIPT_SIGNING_KEY)

    def sign(self, content: Mapping[str, Any]) -> str:
        """The signature of a JSON object; the order of its keys does not matter."""
        return hmac.new(self._secret, _canonical(content), hashlib.sha256).hexdigest()

    def genuine(self, content: Mapping[str, Any], signature: object) -> bool:
        """True when this installation signed exactly this content."""
        return isinstance(signature, str) and hmac.compare_digest(
            self.sign(content).encode(), signature.encode()
        )


def _canonical(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, sort_keys=True, separators=(",", ":")).encode()


def picture_text(
    signer: ReceiptSigner, record: RequestRecord, seed: int, pixels_sha256: str
) -> str:
    """The text in a picture's file: the request that makes exactly this picture, as ASCII JSON. It
    has neither times nor the owner, so the same request gives the same file.

    A prompt too long for a file is replaced by its SHA-256.
    """
    parameters = {**_parameters(record), "samples": 1, "seed": seed}
    content = {
        "checkpoint": record.provenance and record.provenance.checkpoint,
        "parameters": parameters,
        "width": record.width,
        "height": record.height,
        "pixels_sha256": pixels_sha256,
    }
    text = _signed(signer, content)
    if len(text) > MAX_TEXT:
        del parameters["prompt"]
        parameters["prompt_sha256"] = digest(record.params.prompt.encode())
        text = _signed(signer, content)
    return text


def _parameters(record: RequestRecord) -> dict[str, Any]:
    """The parameters that decide the bytes of a picture, by their names on the wire."""
    params = record.params
    control = {
        "cn_type": params.cn_type,
        "cn_strength": params.cn_strength,
        "cn_stop": params.cn_stop,
    }
    return {
        "prompt": params.prompt,
        **({} if params.controls else control),
        "guidance": params.guidance,
        "steps": params.steps,
        "sampler": params.sampler,
        "scheduler": params.scheduler,
        "seed": params.seed,
        "samples": params.samples,
        "image_format": params.image_format,
        "quality": params.quality,
        "use_input_img_dimension": params.use_input_img_dimension,
        "custom_width": params.custom_width,
        "custom_height": params.custom_height,
        "profile": record.profile,
        **params.added(),
    }


def _signed(signer: ReceiptSigner, content: dict[str, Any]) -> str:
    return json.dumps({**content, "signature": signer.sign(content)}, sort_keys=True)


def receipt_of(record: RequestRecord, map_links: Sequence[str]) -> dict[str, Any]:
    """The receipt of a COMPLETED request with pictures, without its signature. map_links: the
    signed links to its control maps."""
    assert record.provenance is not None
    control_maps = [
        {**_facts(control_map), "url": link}
        for control_map, link in zip(record.control_maps, map_links, strict=True)
    ]
    several = {"control_maps": control_maps} if record.params.controls else {}
    return {
        "request_id": record.id,
        "created_at": rfc3339(record.created_at),
        "ended_at": rfc3339(record.ended_at or record.created_at),
        "parameters": _parameters(record),
        "width": record.width,
        "height": record.height,
        "evaluations": record.evaluations,
        "controlled": record.controlled,
        **record.provenance.to_dict(),
        "control_map": control_maps[0] if control_maps else None,
        **several,
        "outputs": [{**_facts(output), "seed": str(output.seed)} for output in record.outputs],
    }


def _facts(picture: StoredPicture) -> dict[str, Any]:
    return {
        "file_name": picture.file_name,
        "width": picture.width,
        "height": picture.height,
        "sha256": picture.sha256,
        "pixels_sha256": picture.pixels_sha256,
    }
