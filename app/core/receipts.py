"""What proves where a picture comes from: a text inside its file, and a receipt of its request,
both signed with a secret that all processes on one Redis share.

HMAC-SHA256: only the installation that signed can verify. Knows neither HTTP nor picture files.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import Any

from redis import Redis

from app.core.clock import rfc3339
from app.core.redis import keys
from app.core.requests.record import RequestRecord
from app.core.storage.links import shared_secret

ALGORITHM = "HMAC-SHA256"
MAX_TEXT = 60_000
"""Characters of what a picture's file says; a JPEG has no room for more than 65,000."""

_PARAMETERS = (
    *("prompt", "cn_type", "cn_strength", "cn_stop", "guidance", "steps", "sampler", "scheduler"),
    *("seed", "samples", "image_format", "quality"),
    *("use_input_img_dimension", "custom_width", "custom_height"),
)
"""What decides a picture's bytes, as the wire calls it; the profile that was served aside."""


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class ReceiptSigner:
    def __init__(self, redis: Redis) -> None:
        self._secret = shared_secret(redis, keys.RECEIPT_SECRET)

    def sign(self, content: Mapping[str, Any]) -> str:
        """The signature of a JSON object, whatever the order of its keys."""
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
    """What a picture's file says of it: the single request that makes exactly this picture. Holds
    nothing of when and for whom, so that the same request gives the same file. ASCII.

    A prompt too long for a file is named by its SHA-256.
    """
    parameters = {**_parameters(record), "samples": 1, "seed": seed}
    content = {
        "checkpoint": record.made_with.get("checkpoint"),
        "parameters": parameters,
        "width": record.width,
        "height": record.height,
        "pixels_sha256": pixels_sha256,
    }
    text = _signed(signer, content)
    if len(text) > MAX_TEXT:
        del parameters["prompt"]
        parameters["prompt_sha256"] = digest(record.params["prompt"].encode())
        text = _signed(signer, content)
    return text


def _parameters(record: RequestRecord) -> dict[str, Any]:
    asked = {name: record.params[name] for name in _PARAMETERS}
    return {**asked, "profile": record.profile}


def _signed(signer: ReceiptSigner, content: dict[str, Any]) -> str:
    return json.dumps({**content, "signature": signer.sign(content)}, sort_keys=True)


def receipt_of(record: RequestRecord, map_link: str | None) -> dict[str, Any]:
    """The receipt of a COMPLETED request with pictures, not yet signed.

    map_link: where its control map can be fetched.
    """
    control_map = record.control_map
    return {
        "request_id": record.id,
        "created_at": rfc3339(record.created_at),
        "ended_at": rfc3339(record.ended_at or record.created_at),
        "parameters": _parameters(record),
        "width": record.width,
        "height": record.height,
        "evaluations": record.evaluations,
        "controlled": record.controlled,
        **record.made_with,
        "control_map": control_map and {**_facts(control_map), "url": map_link},
        "outputs": [{**_facts(made), "seed": str(made["seed"])} for made in record.outputs],
    }


def _facts(made: Mapping[str, Any]) -> dict[str, Any]:
    names = ("file_name", "width", "height", "sha256", "pixels_sha256")
    return {name: made[name] for name in names}
