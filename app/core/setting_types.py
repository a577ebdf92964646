"""The types of settings: how a text of the environment becomes a value, and which are refused.

Knows no setting by name but the password that completes the URL of Redis. Errors are ValueError
with what a value must be.
"""

from __future__ import annotations

import math
import re
from typing import Annotated
from urllib.parse import quote, urlsplit

from pydantic import (
    AfterValidator,
    AnyHttpUrl,
    BeforeValidator,
    Field,
    SecretStr,
    ValidationInfo,
)
from pydantic_settings import NoDecode

from app.core.egress.addresses import AllowList
from app.core.egress.hosts import canonical_authority, canonical_origin
from app.core.redis.connection import check_redis_url

_MEMORY = re.compile(r"(?P<number>[0-9]{1,15})(?P<unit>[kmg]b?|b)?")
_UNITS = {"b": 1, "k": 10**3, "m": 10**6, "g": 10**9, "kb": 2**10, "mb": 2**20, "gb": 2**30}

CLOSABLE_PATHS = ("/openapi.json", "/metrics")
ANY_ORIGIN = "*"


def split_commas(value: object) -> object:
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


def allow_list(entries: tuple[str, ...]) -> tuple[str, ...]:
    AllowList.parse(entries)
    return entries


def hosts(entries: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(canonical_authority(entry) for entry in entries)


def origins(entries: tuple[str, ...]) -> tuple[str, ...]:
    if entries == (ANY_ORIGIN,):
        return entries
    if ANY_ORIGIN in entries:
        raise ValueError(f"{ANY_ORIGIN} stands alone: it allows every origin")
    return tuple(canonical_origin(entry) for entry in entries)


def full_redis_url(url: str, info: ValidationInfo) -> str:
    """Add REDIS_PASSWORD to the URL, unless the URL has a password."""
    password: SecretStr | None = info.data.get("redis_password")
    check_redis_url(url)  # first: the code below needs a valid URL
    parts = urlsplit(url)
    if password is not None and parts.password is None:
        user, _, address = parts.netloc.rpartition("@")
        secret = quote(password.get_secret_value(), safe="")
        url = parts._replace(netloc=f"{user}:{secret}@{address}").geturl()
    return url


def memory_bytes(value: object) -> object:
    """Parse bytes the way Redis does: 4gb is 4 * 1024**3, 4g is 4 * 1000**3."""
    if not isinstance(value, str):
        return value
    amount = _MEMORY.fullmatch(value.strip().lower())
    if amount is None:
        raise ValueError("must be a number of bytes, or one of mb or gb such as 512mb")
    return int(amount["number"]) * _UNITS[amount["unit"] or "b"]


def plain_url(url: AnyHttpUrl) -> AnyHttpUrl:
    if url.username or url.password or url.query or url.fragment:
        raise ValueError("must have no user, password, query or fragment")
    return url


def finite(mu: float | str) -> float | str:
    if isinstance(mu, float) and not math.isfinite(mu):
        raise ValueError("must be a finite number or auto")
    return mu


def _known(name: str, names: tuple[str, ...]) -> str:
    if name not in names:
        raise ValueError(f"{name!r} is none of {', '.join(names)}")
    return name


def one_of(names: tuple[str, ...]) -> AfterValidator:
    return AfterValidator(lambda name: _known(name, names))


def some_of(names: tuple[str, ...]) -> AfterValidator:
    return AfterValidator(lambda entries: tuple(_known(entry, names) for entry in entries))


CommaList = Annotated[tuple[str, ...], NoDecode, BeforeValidator(split_commas)]
Pause = Annotated[float, Field(ge=0, le=86_400)]
Pauses = Annotated[tuple[Pause, ...], NoDecode, BeforeValidator(split_commas)]
