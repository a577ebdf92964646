"""One POST to wherever an owner says, through the same guarded connections as the fetcher
(app/core/egress/connections.py). Redirects are not followed, and nothing of an answer is read but
its head.
"""

from __future__ import annotations

from collections.abc import Mapping

import httpcore

from app.core.egress.addresses import AllowList
from app.core.egress.connections import Deadline, GuardedBackend, Resolve, resolve
from app.core.egress.urls import parse_url
from app.core.errors import UrlRejected


class DeliveryFailed(Exception):
    """There was no answer. The text is fit for the owner: it names no address."""


def post(
    url: str,
    body: bytes,
    headers: Mapping[str, str],
    allow: AllowList,
    timeout_s: float,
    resolve: Resolve = resolve,
) -> int:
    """The HTTP status of the answer, redirects included. Raises DeliveryFailed.

    timeout_s: for all of it, from the look-up of the name to the head of the answer.
    """
    try:
        to = parse_url(url)
        at = httpcore.URL(scheme=to.scheme, host=to.host, port=to.port, target=to.target)
        sent = {"Host": to.host_header, "User-Agent": "flux-controlnet-server", **headers}
        backend = GuardedBackend(allow, Deadline(timeout_s), resolve)
        with (
            httpcore.ConnectionPool(network_backend=backend) as pool,
            pool.stream("POST", at, headers=_encoded(sent, body), content=body) as answer,
        ):
            return answer.status
    except UrlRejected as error:
        raise DeliveryFailed(f"the URL cannot be used: {error.reason}") from None
    except httpcore.TimeoutException:
        raise DeliveryFailed(f"no answer within {timeout_s:g} s") from None
    except (httpcore.NetworkError, httpcore.ProtocolError):
        raise DeliveryFailed("the receiver could not be reached") from None


def _encoded(headers: Mapping[str, str], body: bytes) -> list[tuple[bytes, bytes]]:
    every = {**headers, "Content-Length": str(len(body))}
    return [(name.encode(), value.encode()) for name, value in every.items()]
