"""One POST to a URL of an owner, through guarded connections (app/core/egress/connections.py).

Does not follow redirects, and reads only the head of the response.
"""

from __future__ import annotations

from collections.abc import Mapping

import httpcore

from app.core.egress.addresses import AllowList
from app.core.egress.connections import Deadline, GuardedBackend, Resolve, resolve
from app.core.egress.urls import parse_url
from app.core.errors import UrlRejected


class DeliveryFailed(Exception):
    """No response. The owner sees the text, so it contains no address."""


def post(
    url: str,
    body: bytes,
    headers: Mapping[str, str],
    allow: AllowList,
    timeout_s: float,
    resolve: Resolve = resolve,
) -> int:
    """The HTTP status of the response, which may be a redirect. Raises DeliveryFailed.

    timeout_s: from the DNS look-up to the head of the response.
    """
    try:
        to = parse_url(url)
        address = httpcore.URL(scheme=to.scheme, host=to.host, port=to.port, target=to.target)
        fields = {"Host": to.host_header, "User-Agent": "flux-controlnet-server", **headers}
        backend = GuardedBackend(allow, Deadline(timeout_s), resolve)
        with (
            httpcore.ConnectionPool(network_backend=backend) as pool,
            pool.stream("POST", address, headers=_encoded(fields, body), content=body) as response,
        ):
            return response.status
    except UrlRejected as error:
        raise DeliveryFailed(f"the URL cannot be used: {error.reason}") from None
    except httpcore.TimeoutException:
        raise DeliveryFailed(f"no answer within {timeout_s:g} s") from None
    except (httpcore.NetworkError, httpcore.ProtocolError):
        raise DeliveryFailed("the receiver could not be reached") from None


def _encoded(headers: Mapping[str, str], body: bytes) -> list[tuple[bytes, bytes]]:
    with_length = {**headers, "Content-Length": str(len(body))}
    return [(name.encode(), value.encode()) for name, value in with_length.items()]
