"""Webhooks by the Standard Webhooks specification (https://www.standardwebhooks.com): allowed
targets, the message, its signature and the owners' secrets. Sends nothing.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import secrets
import socket
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from ipaddress import IPv4Address
from typing import Any, cast

from redis import Redis

from app.core.clock import rfc3339
from app.core.egress.addresses import PORTS, AllowList, is_public, parse_address
from app.core.egress.urls import parse_url
from app.core.errors import UrlRejected
from app.core.redis import keys
from app.core.requests.outputs import Picture, picture_body
from app.core.requests.record import RequestRecord, Status
from app.core.requests.types import Output
from app.core.requests.warnings import warning_bodies
from app.core.storage.links import LinkSigner, output_path
from app.core.stored_json import from_stored

URL_MAX = 2048
OVERLAP_S = 86_400
"""Seconds for which a rotated secret still signs, beside its successor."""

_INSIDE = re.compile(r"(.*\.)?(localhost|local|internal|intranet|lan|home\.arpa)")


def check_target(url: str, allow: AllowList) -> None:
    """Raises UrlRejected for anything but an http(s) URL, and for one that visibly leads inside.

    Checks addresses in every spelling, names that can only be internal, and ports. The api resolves
    no names: app/core/egress/connections.py checks the address when it connects, because a name may
    resolve to another address by then.
    """
    try:
        url.encode()
    except UnicodeEncodeError:  # a lone surrogate, which can be neither stored nor sent
        raise UrlRejected("it is malformed") from None
    target = parse_url(url)
    if allow.allows_host(target.host, target.connects_to):
        return
    address = _literal(target.host)
    if address is not None and allow.allows_address(address):
        return
    if target.connects_to not in PORTS:
        raise UrlRejected("its port is not allowed")
    if address is None:
        inside = "." not in target.host or _INSIDE.fullmatch(target.host) is not None
    else:
        inside = not is_public(address)
    if inside:
        raise UrlRejected("its host is not allowed")


def check_key_target(url: str, allow: AllowList) -> None:
    """check_target() for the webhook of a key; "" is none. Raises ValueError with the field."""
    if len(url) > URL_MAX:
        raise ValueError(f"webhook_url: a URL has at most {URL_MAX} characters")
    if url:
        try:
            check_target(url, allow)
        except UrlRejected as error:
            raise ValueError(f"webhook_url: the URL cannot be used: {error.reason}") from None


def _literal(host: str) -> Any:
    """The address that a host is, also in the spellings of inet_aton (127.1, 0x7f000001)."""
    try:
        return parse_address(host)
    except ValueError:
        pass
    try:
        return IPv4Address(socket.inet_aton(host))
    except OSError:
        return None


def payload(record: RequestRecord, links: LinkSigner) -> str:
    """The JSON body of the webhook that reports the end of a request. `data` has keys of
    GET /v2/requests/{id}, with the same values."""
    assert record.webhook is not None
    assert record.ended_at is not None
    origin = record.webhook.origin
    data: dict[str, Any] = {
        "request_id": record.id,
        "status": record.status,
        "error": record.error,
        "response_url": f"{origin}/v2/requests/{record.id}",
        "status_url": f"{origin}/v2/requests/{record.id}/status",
    }
    if record.status is Status.COMPLETED:
        data["seed"] = str(record.params.seed)
        data["images"] = [_picture(record, output, links, origin) for output in record.outputs]
    if record.warnings:
        data["warnings"] = warning_bodies(record.warnings)
    event = f"request.{record.status.lower()}"
    message = {"type": event, "timestamp": rfc3339(record.ended_at), "data": data}
    return json.dumps(message, separators=(",", ":"))


def _picture(record: RequestRecord, output: Output, links: LinkSigner, origin: str) -> Picture:
    path = output_path(record.id, output.file_name)
    return picture_body(output, origin + links.sign(path, int(record.files_expire_at)))


@dataclass(frozen=True, slots=True)
class Secret:
    """The secrets of an owner, in the form that receivers use. previous signs too until OVERLAP_S
    after rotated_at (Unix seconds).
    """

    current: str
    previous: str | None = None
    rotated_at: float = 0.0

    def live(self) -> list[str]:
        overlap = self.previous is not None and time.time() < self.rotated_at + OVERLAP_S
        return [self.current, cast(str, self.previous)] if overlap else [self.current]


class WebhookSecrets:
    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def of(self, owner: str) -> Secret:
        """The owner's secret; created when there is none."""
        self._redis.hsetnx(keys.WEBHOOK_SECRETS, owner, json.dumps(asdict(Secret(_mint()))))
        return from_stored(Secret, cast(bytes, self._redis.hget(keys.WEBHOOK_SECRETS, owner)))

    def rotate(self, owner: str) -> Secret:
        """A new secret; the previous one still signs for OVERLAP_S."""
        rotated = Secret(_mint(), self.of(owner).current, time.time())
        self._redis.hset(keys.WEBHOOK_SECRETS, owner, json.dumps(asdict(rotated)))
        return rotated


def _mint() -> str:
    return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()


def signature(keys: Sequence[str], message_id: str, timestamp: int, body: str) -> str:
    """The value of the header `webhook-signature`: one `v1,...` for each secret."""
    signed = f"{message_id}.{timestamp}.{body}".encode()
    return " ".join(f"v1,{_sign(key, signed)}" for key in keys)


def _sign(key: str, signed: bytes) -> str:
    raw = base64.b64decode(key.removeprefix("whsec_"))
    return base64.b64encode(hmac.digest(raw, signed, hashlib.sha256)).decode()
