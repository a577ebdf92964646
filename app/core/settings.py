"""All settings, each with its default and one sentence. Read from the environment, from `.env`,
and from files named after settings in /run/secrets, where Docker and compose mount secrets.

Does not know where a setting is used. A bad value, or an unknown name in `.env`, stops the start
with one line.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    AnyHttpUrl,
    BeforeValidator,
    Field,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from app.core.history.factory import check_database_url
from app.core.setting_types import (
    CLOSABLE_PATHS,
    CommaList,
    Pauses,
    allow_list,
    finite,
    full_redis_url,
    hosts,
    memory_bytes,
    one_of,
    origins,
    plain_url,
    some_of,
)
from app.core.storage.factory import check_blob_url
from app.core.system.exit import refuse
from models.control_types import DEPTH_ANNOTATORS, POSE_ANNOTATORS
from models.loras.lora_folder import DEMO_LORAS
from models.loras.lora_options import LoraOptions
from models.spec import CHECKPOINT_NAMES, PROFILE_NAMES

SECRETS = Path("/run/secrets")

READ_BY_OTHERS = frozenset(
    {
        *("compose_profiles", "flux_version", "api_bind", "api_port"),
        *("secrets_dir", "hf_hub_offline", "hf_token"),
        "aws_shared_credentials_file",
    }
)
"""Names in `.env` that compose and libraries read: neither settings nor misspelt ones."""

_HOSTED_TTL_S = 7 * 86_400
"""How long the hosted service stores pictures."""


class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_file=".env", extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _ours(cls, values: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in values.items() if name not in READ_BY_OTHERS}

    redis_password: SecretStr | None = None
    """Password for REDIS_URL when the URL has none, for example from a secret file."""

    redis_url: Annotated[str, AfterValidator(full_redis_url), Field(validate_default=True)] = (
        "redis://127.0.0.1:6379/0"
    )
    """Redis that holds the queues, the records and, by default, the picture bytes."""

    public_url: Annotated[AnyHttpUrl, AfterValidator(plain_url)] | None = None
    """Origin, with an optional path prefix, that clients use; for the URLs in responses."""

    allowed_hosts: Annotated[CommaList, AfterValidator(hosts)] = (
        "localhost",
        "127.0.0.1",
        "[::1]",
    )
    """`host` or `host:port` that a Host header may put into the URLs in responses."""

    fetch_allow_hosts: Annotated[CommaList, AfterValidator(allow_list)] = ()
    """Private `host`, `host:port` or CIDR that the fetcher and the webhooks may reach."""

    checkpoint: Annotated[str, one_of(CHECKPOINT_NAMES)] = "demo"
    """Model that the gpu worker serves: a name from models/checkpoints."""

    depth_annotator: Annotated[str, one_of(DEPTH_ANNOTATORS)] = "midas"
    """Detector of depth maps; `midas` is the checkpoint's own."""

    pose_annotator: Annotated[str, one_of(POSE_ANNOTATORS)] = "openpose"
    """Detector of pose maps; `openpose` is the checkpoint's own."""

    profile: Annotated[str, one_of(PROFILE_NAMES)] = "exact"
    """Speed profile of requests that name none; `exact` does not change results."""

    warm_profiles: Annotated[CommaList, some_of(PROFILE_NAMES)] = ()
    """Profiles besides PROFILE that a gpu worker builds, compiles and warms up at its start."""

    mu: Annotated[float | Literal["auto"], AfterValidator(finite)] = 1.15
    """Shift of the sigma table; with `auto` it grows with the picture size."""

    loras_dir: str = ""
    """Folder of the LoRA files that requests may name; empty: none, or those of the demo."""

    loras_max_rank: int = Field(128, ge=1, le=4096)
    """Largest sum of the ranks of a request's LoRAs; the card reserves memory for it."""

    loras_cache_bytes: int = Field(2_147_483_648, ge=0)
    """Bytes of LoRAs that a gpu worker keeps in host memory; the least recently used go first."""

    request_ttl_s: int = Field(3600, ge=1)
    """Seconds from submission until a request and its pictures expire."""

    output_ttl_s: int | None = Field(None, ge=0, le=315_360_000)
    """Seconds from submission that finished pictures are stored, at least as long as their request;
    by default 7 days in a folder or a bucket, and in Redis as long as the request."""

    output_quota_bytes: Annotated[int | None, BeforeValidator(memory_bytes)] = None
    """Bytes of finished pictures above which the oldest of expired requests are removed; by default
    half of the space of the store."""

    generate_timeout_s: int = Field(3000, ge=1)
    """Seconds that a gpu worker may work on a request; one that needs longer is refused."""

    resume_every_s: float = Field(10, gt=0)
    """Seconds between two saves of a running request: the gpu work that a crash can lose."""

    sync_timeout_s: float = Field(300, gt=0)
    """Seconds that v1 waits for a picture before it responds 504."""

    drain_s: float = Field(5, ge=0)
    """Seconds after SIGTERM in which the api still serves while its readiness is 503."""

    grace_s: float = Field(10, ge=2)
    """Seconds of grace after DRAIN_S for in-flight work; then v1 gets 503, jobs are re-queued."""

    max_pixels: int = Field(16_777_216, ge=64 * 64)
    """Largest picture to generate, in pixels."""

    max_image_bytes: int = Field(33_554_432, ge=1024)
    """Largest control picture file, in bytes."""

    # The memory limit of a cpu job allows no more.
    max_image_pixels: int = Field(67_108_864, ge=64 * 64, le=134_217_728)
    """Largest decoded control picture, in pixels. A JPEG of up to four times as many pixels is
    decoded at half width and height; larger files are refused from their header."""

    max_body_bytes: int = Field(67_108_864, ge=1024)
    """Largest request body, in bytes."""

    max_bodies_bytes: int = Field(536_870_912, ge=1024)
    """Bytes of request bodies in flight in one api process; beyond that a new body gets 503."""

    max_key_bodies_bytes: int = Field(268_435_456, ge=1024)
    """The same for one API key. Both always admit one body that MAX_BODY_BYTES allows."""

    max_queued: int = Field(10_000, ge=1)
    """Unfinished requests, waiting or running, beyond which a new one gets 503."""

    memory_watermark: float = Field(0.8, gt=0, le=1)
    """Share of Redis' maxmemory in use beyond which a new request gets 503."""

    credits_per_work_unit: float = Field(1.0, ge=1e-6, le=1e6, allow_inf_nan=False)
    """Credits that one work unit costs, for API keys with a budget."""

    head_timeout_s: float = Field(10, gt=0)
    """Seconds in which the head of a request must arrive."""

    body_timeout_s: float = Field(120, gt=0)
    """Seconds in which a body must arrive, and in which a client must read what it is sent."""

    closed_paths: Annotated[CommaList, some_of(CLOSABLE_PATHS)] = ()
    """Which of `/openapi.json` and `/metrics` respond 404."""

    playground: bool = True
    """Whether `/` serves the playground, a page to try the API with a key; off: 404."""

    cors_origins: Annotated[CommaList, AfterValidator(origins)] = ()
    """Origins whose scripts may call the API from a browser, or `*` for every one."""

    fetch_timeout_s: float = Field(20, gt=0)
    """Seconds for the whole download of a request's control pictures, redirects included."""

    blob_url: Annotated[str, AfterValidator(check_blob_url)] = "redis"
    """Store of the picture bytes until they expire: redis, file:///FOLDER or s3://BUCKET/PREFIX."""

    database_url: Annotated[str, AfterValidator(check_database_url)] = ""
    """Database of the history (sqlite or postgresql); empty: Redis."""

    history_days: int = Field(30, ge=0, le=3650)
    """Days that the history keeps finished requests, without pictures; 0 keeps none."""

    upload_ttl_s: int = Field(604_800, ge=1)
    """Seconds that an uploaded picture is kept."""

    upload_quota_bytes: int = Field(268_435_456, ge=0)
    """Bytes of uploaded pictures that one owner may store at a time."""

    source_quota_bytes: int = Field(536_870_912, ge=0)
    """Bytes of pictures sent with requests that may wait for preparation, per owner."""

    webhook_timeout_s: float = Field(10, gt=0, le=30)
    """Seconds that a webhook receiver has to respond."""

    webhook_retries_s: Pauses = (5, 60, 600, 3600, 7200, 14_400, 28_800)
    """Seconds before each retry of a webhook; after the last one the delivery fails."""

    content_filter: str = ""
    """Image classifier for finished pictures (folder or `owner/name@revision`); empty: none."""

    content_filter_labels: CommaList = ("nsfw",)
    """Classifier labels for which a picture is withheld."""

    content_filter_threshold: float = Field(0.5, gt=0, le=1)
    """Probability of such a label at which a picture is withheld."""

    output_metadata: bool = True
    """Whether picture files carry their resolved parameters, including the prompt."""

    data_dir: Path = Path("data")
    """Folder for local data: the API key, the embedded Redis, compiled code."""

    redis_maxmemory: Annotated[int | None, BeforeValidator(memory_bytes)] = None
    """Memory limit of the Redis of `scripts/up`: bytes, 512mb, 4gb; 0 for no limit; by default a
    quarter of the machine's memory."""

    api_key: SecretStr | None = None
    """API key that `scripts/up` accepts and `receipt replay` sends."""

    api_key_file: Path | None = None
    """File that holds API_KEY."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Lowest level that the processes log."""

    log_format: Literal["text", "json"] = "text"
    """Format of a log line: plain text, or one JSON object."""

    @property
    def output_life_s(self) -> int:
        """OUTPUT_TTL_S or its default."""
        if self.output_ttl_s is not None:
            return self.output_ttl_s
        return 0 if self.blob_url == "redis" else _HOSTED_TTL_S

    @property
    def loras_folder(self) -> Path | None:
        """LORAS_DIR, or the folder that comes with the demo; None: the server has no LoRAs."""
        if self.loras_dir:
            return Path(self.loras_dir)
        return DEMO_LORAS if self.checkpoint == "demo" and DEMO_LORAS.is_dir() else None

    @property
    def loras(self) -> LoraOptions:
        return LoraOptions(self.loras_folder, self.loras_max_rank, self.loras_cache_bytes)


def load_settings(**overrides: Any) -> Settings:
    """The settings of this process. For a bad one, exits with one line that names it.

    overrides: values that win over the environment (command-line options).
    """
    try:
        # pydantic-settings warns about a secrets folder that does not exist.
        return Settings(_secrets_dir=SECRETS if SECRETS.is_dir() else None, **overrides)
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
