"""Which headers of a response belong to the API, and not to the transport or a proxy."""

from __future__ import annotations

from collections.abc import Mapping

_ALSO = frozenset(("content-type", "retry-after", "location"))
_OF_PROXIES = tuple(
    "x-amz x-cache x-content-type-options x-envoy x-forwarded x-frame x-gpu-info x-powered-by "
    "x-served-by x-timer x-xss".split()
)


def compared(headers: Mapping[str, str]) -> dict[str, str]:
    """Those that clients of the API read; names in lower case, sorted."""
    return {
        name: value
        for name, value in sorted(headers.items())
        if name in _ALSO or (name.startswith("x-") and not name.startswith(_OF_PROXIES))
    }
