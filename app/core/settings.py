"""Every setting, with its default and one sentence. Read from the environment, from `.env`, and
from files named after settings in /run/secrets, where Docker and compose mount secrets.

Knows nothing of who uses a setting. A bad value, or an unknown name in `.env`, stops the start
with one line.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import quote, urlsplit

from pydantic import (
    AfterValidator,
    AnyHttpUrl,
    BeforeValidator,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict, SettingsError

from app.core.egress.addresses import AllowList
from app.core.egress.hosts import canonical_authority
from app.core.history.base import check_database_url
from app.core.redis.connection import check_redis_url
from app.core.storage.base import check_blob_url
from app.core.system.exit import refuse
from models.spec import CHECKPOINT_NAMES, PROFILE_NAMES

SECRETS = Path("/run/secrets")

_MEMORY = re.compile(r"(?P<number>[0-9]{1,15})(?P<unit>[kmg]b?|b)?")
_UNITS = {"b": 1, "k": 10**3, "m": 10**6, "g": 10**9, "kb": 2**10, "mb": 2**20, "gb": 2**30}

CLOSABLE_PATHS = ("/openapi.json", "/metrics")

READ_BY_OTHERS = frozenset(
    {
        *("compose_profiles", "flux_version", "api_bind", "api_port"),
        *("secrets_dir", "hf_hub_offline", "hf_token"),
        "aws_shared_credentials_file",
    }
)
"""What `.env` holds for compose and for libraries; no settings, and no misspelt ones."""


def _split_commas(value: object) -> object:
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


def _allow_list(entries: tuple[str, ...]) -> tuple[str, ...]:
    AllowList.parse(entries)
    return entries


def _hosts(entries: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(canonical_authority(entry) for entry in entries)


def _redis_url(url: str, info: ValidationInfo) -> str:
    """The URL with REDIS_PASSWORD in it, unless it brings a password of its own."""
    password: SecretStr | None = info.data.get("redis_password")
    check_redis_url(url)  # first, for what cannot be read cannot be completed
    parts = urlsplit(url)
    if password is not None and parts.password is None:
        user, _, place = parts.netloc.rpartition("@")
        secret = quote(password.get_secret_value(), safe="")
        url = parts._replace(netloc=f"{user}:{secret}@{place}").geturl()
    return url


def _memory(value: object) -> object:
    """A number of bytes as Redis reads it: 4gb is 4 * 1024**3, 4g is 4 * 1000**3."""
    if not isinstance(value, str):
        return value
    found = _MEMORY.fullmatch(value.strip().lower())
    if found is None:
        raise ValueError("must be a number of bytes, or one of mb or gb such as 512mb")
    return int(found["number"]) * _UNITS[found["unit"] or "b"]


def _plain_url(url: AnyHttpUrl) -> AnyHttpUrl:
    if url.username or url.password or url.query or url.fragment:
        raise ValueError("must have no user, password, query or fragment")
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
Pause = Annotated[float, Field(ge=0, le=86_400)]
Pauses = Annotated[tuple[Pause, ...], NoDecode, BeforeValidator(_split_commas)]


class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_file=".env", extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _ours(cls, given: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in given.items() if name not in READ_BY_OTHERS}

    redis_password: SecretStr | None = None
    """Password of that Redis, for when it is kept apart from the URL: in a secret's file."""

    redis_url: Annotated[str, AfterValidator(_redis_url), Field(validate_default=True)] = (
        "redis://127.0.0.1:6379/0"
    )
    """Redis that holds the queues, the records and the small blobs."""

    public_url: Annotated[AnyHttpUrl, AfterValidator(_plain_url)] | None = None
    """Origin (and path prefix) that clients use, for the URLs in answers."""

    allowed_hosts: Annotated[CommaList, AfterValidator(_hosts)] = (
        "localhost",
        "127.0.0.1",
        "[::1]",
    )
    """`host` or `host:port` that a request's own Host header may carry into the URLs in answers."""

    fetch_allow_hosts: Annotated[CommaList, AfterValidator(_allow_list)] = ()
    """`host`, `host:port` or CIDR that fetcher and webhooks may reach although it is private."""

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

    drain_s: float = Field(5, ge=0)
    """Seconds after SIGTERM in which the api still serves while its readiness says 503."""

    grace_s: float = Field(10, ge=2)
    """Seconds that what is in hand has after that; then v1 calls get 503, jobs are put back."""

    max_pixels: int = Field(16_777_216, ge=64 * 64)
    """Largest picture to generate, in pixels."""

    max_image_bytes: int = Field(33_554_432, ge=1024)
    """Largest control picture as a file."""

    # A cpu job has no memory for more.
    max_image_pixels: int = Field(67_108_864, ge=64 * 64, le=134_217_728)
    """Largest control picture once decoded; a JPEG of up to four times as many pixels is decoded at
    half its width and height, anything larger is refused from its header."""

    max_body_bytes: int = Field(67_108_864, ge=1024)
    """Largest request body."""

    max_bodies_bytes: int = Field(536_870_912, ge=1024)
    """Bytes of request bodies that one api process has in hand; beyond them a new one gets 503."""

    max_key_bodies_bytes: int = Field(268_435_456, ge=1024)
    """The same for one key. One body that MAX_BODY_BYTES allows always passes both."""

    max_queued: int = Field(10_000, ge=1)
    """Requests that have not ended, waiting or running, beyond which a new one is answered 503."""

    memory_watermark: float = Field(0.8, gt=0, le=1)
    """Share of Redis' maxmemory in use beyond which a new request is answered 503."""

    credits_per_work_unit: float = Field(1.0, ge=1e-6, le=1e6, allow_inf_nan=False)
    """Price of a unit of work, for keys with a budget."""

    head_timeout_s: float = Field(10, gt=0)
    """Seconds in which the head of a request must have arrived."""

    body_timeout_s: float = Field(120, gt=0)
    """Seconds in which a body must have arrived, or a client must take what is sent to it."""

    closed_paths: Annotated[CommaList, AfterValidator(_closable)] = ()
    """Which of `/openapi.json` and `/metrics` are answered as if they did not exist."""

    fetch_timeout_s: float = Field(20, gt=0)
    """Seconds for the whole download of a control picture, redirects included."""

    blob_url: Annotated[str, AfterValidator(check_blob_url)] = "redis"
    """Where picture bytes live until they expire: redis, file:///FOLDER or s3://BUCKET/PREFIX."""

    database_url: Annotated[str, AfterValidator(check_database_url)] = ""
    """Database of the history (sqlite or postgresql); Redis when empty."""

    history_days: int = Field(30, ge=0, le=3650)
    """Days that finished requests are kept in the history, without pictures; 0 keeps none."""

    upload_ttl_s: int = Field(604_800, ge=1)
    """Seconds that an uploaded picture lives."""

    upload_quota_bytes: int = Field(268_435_456, ge=0)
    """Bytes of uploaded pictures that one owner may have at a time."""

    source_quota_bytes: int = Field(536_870_912, ge=0)
    """Bytes of pictures sent with requests that one owner may have waiting to be prepared."""

    webhook_timeout_s: float = Field(10, gt=0, le=30)
    """Seconds that a receiver of webhooks has for its answer."""

    webhook_retries_s: Pauses = (5, 60, 600, 3600, 7200, 14_400, 28_800)
    """Seconds before each further attempt to deliver a webhook; then it is given up."""

    content_filter: str = ""
    """Image classifier that judges finished pictures (folder or `owner/name@revision`), or none."""

    content_filter_labels: CommaList = ("nsfw",)
    """Labels of the classifier for which a picture is withheld."""

    content_filter_threshold: float = Field(0.5, gt=0, le=1)
    """Probability of such a label from which on a picture is withheld."""

    output_metadata: bool = True
    """Whether pictures carry their resolved parameters, the prompt among them, in their files."""

    data_dir: Path = Path("data")
    """Folder for what is made locally: the key, the embedded Redis, compiled code."""

    redis_maxmemory: Annotated[int | None, BeforeValidator(_memory)] = None
    """Memory of the Redis of `scripts/up`: bytes, 512mb, 4gb; 0 for no bound, a quarter of the
    machine's by default."""

    api_key: SecretStr | None = None
    """Key that `scripts/up` serves with, and that `receipt replay` sends."""

    api_key_file: Path | None = None
    """File that holds that key instead."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """How much the processes log."""

    log_format: Literal["text", "json"] = "text"
    """A line of text, or one JSON object a line."""


def load_settings(**given: Any) -> Settings:
    """The settings of this process; leaves with one line that names the culprit.

    given: values that win over the environment (command-line options).
    """
    try:
        # The argument is the library's own, which warns about a folder that is not there.
        return Settings(_secrets_dir=SECRETS if SECRETS.is_dir() else None, **given)
    except SettingsError as error:
        unreadable = isinstance(error.__cause__, OSError)
        remedy = "; the user of this process must be able to read it" if unreadable else ""
        refuse(f"settings: {error.__cause__ or error}{remedy}")
    except UnicodeDecodeError:
        refuse("settings: .env is not UTF-8; save it as UTF-8")
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]).upper()
        refuse(f"settings: {name}: {first['msg'].removeprefix('Value error, ')}")
