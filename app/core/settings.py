"""Every setting, with its default and one sentence. Read from the environment and from `.env`.

Knows nothing of who uses a setting. A bad value, or an unknown name in `.env`, stops the start
with one line.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AnyHttpUrl, BeforeValidator, Field, ValidationError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict
from redis import Redis

from app.core.addresses import AllowList
from models.spec import CHECKPOINT_NAMES, PROFILE_NAMES

EXIT_CONFIG = 78
"""Exit code of a process that cannot start until somebody changes something (sysexits.h)."""

CLOSABLE_PATHS = ("/openapi.json", "/metrics")


def _split_commas(value: object) -> object:
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


def _allow_list(entries: tuple[str, ...]) -> tuple[str, ...]:
    AllowList.parse(entries)
    return entries


def _lowered(entries: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(entry.lower() for entry in entries)


def _redis_url(url: str) -> str:
    Redis.from_url(url)  # connects to nothing yet, but reads every part
    return url


def _plain_url(url: AnyHttpUrl) -> AnyHttpUrl:
    if url.query or url.fragment:
        raise ValueError("must have neither query nor fragment")
    return url


def _finite(mu: float | str) -> float | str:
    if isinstance(mu, float) and not math.isfinite(mu):
        raise ValueError("must be a finite number or auto")
    return mu


def _closable(paths: tuple[str, ...]) -> tuple[str, ...]:
    for path in paths:
        if path not in CLOSABLE_PATHS:
            raise ValueError(f"{path!r} is none of {', '.join(CLOSABLE_PATHS)}")
    return paths


def _one_of(names: tuple[str, ...]) -> AfterValidator:
    def known(name: str) -> str:
        if name not in names:
            raise ValueError(f"{name!r} is none of {', '.join(names)}")
        return name

    return AfterValidator(known)


CommaList = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split_commas)]


class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_file=".env", extra="forbid", frozen=True)

    redis_url: Annotated[str, AfterValidator(_redis_url)] = "redis://127.0.0.1:6379/0"
    """Redis that holds the queues, the records and the small blobs."""

    public_url: Annotated[AnyHttpUrl, AfterValidator(_plain_url)] | None = None
    """Origin (and path prefix) that clients use, for the URLs in answers."""

    allowed_hosts: Annotated[CommaList, AfterValidator(_lowered)] = (
        "localhost",
        "127.0.0.1",
        "[::1]",
    )
    """`host` or `host:port` that a request's own Host header may carry into the URLs in answers."""

    fetch_allow_hosts: Annotated[CommaList, AfterValidator(_allow_list)] = ()
    """`host`, `host:port` or CIDR that the fetcher may reach although the address is private."""

    checkpoint: Annotated[str, _one_of(CHECKPOINT_NAMES)] = "demo"
    """Which model the gpu worker serves: a name from models/checkpoints."""

    profile: Annotated[str, _one_of(PROFILE_NAMES)] = "exact"
    """Speed profile of requests that name none; exact changes no result."""

    mu: Annotated[float | Literal["auto"], AfterValidator(_finite)] = 1.15
    """Shift of the sigma table; auto lets it grow with the picture's size."""

    request_ttl_s: int = Field(3600, ge=1)
    """Seconds that a request and its pictures live after submission."""

    resume_every_s: float = Field(10, gt=0)
    """Seconds of a gpu worker's work that a crash may cost: what it has is saved this often."""

    sync_timeout_s: float = Field(300, gt=0)
    """Seconds that v1 waits for a picture before it answers 504."""

    max_pixels: int = Field(16_777_216, ge=64 * 64)
    """Largest picture to generate, in pixels."""

    max_image_bytes: int = Field(33_554_432, ge=1024)
    """Largest control picture as a file."""

    # A cpu job has no memory for more.
    max_image_pixels: int = Field(67_108_864, ge=64 * 64, le=134_217_728)
    """Largest control picture once decoded; larger ones are refused from their header."""

    max_body_bytes: int = Field(67_108_864, ge=1024)
    """Largest request body."""

    head_timeout_s: float = Field(10, gt=0)
    """Seconds in which the head of a request must have arrived."""

    body_timeout_s: float = Field(120, gt=0)
    """Seconds in which a body must have arrived, or a client must take what is sent to it."""

    closed_paths: Annotated[CommaList, AfterValidator(_closable)] = ()
    """Which of `/openapi.json` and `/metrics` are answered as if they did not exist."""

    fetch_timeout_s: float = Field(20, gt=0)
    """Seconds for the whole download of a control picture, redirects included."""

    blob_url: Literal["redis"] = "redis"
    """Where picture bytes live until the request expires."""

    data_dir: Path = Path("data")
    """Folder for what is made locally: the key, the embedded Redis, compiled code."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """How much the processes log."""


def load_settings(**given: Any) -> Settings:
    """The settings of this process, or SystemExit with one line that names the culprit.

    given: values that win over the environment (command-line options).
    """
    try:
        return Settings(**given)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]).upper()
        raise SystemExit(f"settings: {name}: {first['msg']}") from None
