"""Settings come from the environment, and a bad one stops the start with one line."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from app.core import settings as settings_module
from app.core.settings import READ_BY_OTHERS, Settings, load_settings
from app.core.system.exit import EXIT_CONFIG

ROOT = Path(__file__).resolve().parents[4]


@pytest.fixture(autouse=True)
def _no_dotenv(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


def test_lists_are_split_at_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FETCH_ALLOW_HOSTS", "images.corp, 10.0.0.0/8,")
    assert load_settings().fetch_allow_hosts == ("images.corp", "10.0.0.0/8")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("REQUEST_TTL_S", "soon"),
        ("MAX_PIXELS", "-1"),
        ("PUBLIC_URL", "not a url"),
        ("REDIS_URL", "http://x"),
        ("LOG_LEVEL", "loud"),
        ("PROFILE", "warp"),
        ("WARM_PROFILES", "fast,warp"),
        ("BLOB_URL", "ftp://x"),
        ("FETCH_ALLOW_HOSTS", "10.0.0.0/99"),
        ("FETCH_ALLOW_HOSTS", "two words"),
        ("REDIS_URL", "redis://:pw@host:abc/0"),
        ("REDIS_URL", "redis://:pw#x@host/0"),
        ("REDIS_URL", "rediss://host?ssl_nonsense=1"),
        ("PUBLIC_URL", "https://host/path?query=1"),
        ("CLOSED_PATHS", "/v2/flux-controlnet"),
        ("HEAD_TIMEOUT_S", "0"),
        ("MU", "nan"),
        ("MU", "much"),
    ],
)
def test_a_bad_value_stops_the_start_with_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    monkeypatch.setenv("REDIS_PASSWORD", "kept apart")
    with pytest.raises(SystemExit) as stopped:
        load_settings()
    assert stopped.value.code == EXIT_CONFIG
    [line] = capsys.readouterr().err.splitlines()
    assert line == str(stopped.value)
    assert line.startswith(f"settings: {name}: ")
    assert "pw" not in line
    assert "Value error" not in line


@pytest.mark.parametrize("profile", ["exact", "fast", "turbo"])
def test_every_profile_is_a_setting(monkeypatch: pytest.MonkeyPatch, profile: str) -> None:
    assert load_settings().profile == "exact"
    monkeypatch.setenv("PROFILE", profile)
    assert load_settings().profile == profile


def test_an_unknown_name_in_dotenv_stops_the_start() -> None:
    Path(".env").write_text("REQEST_TTL_S=10\n")
    with pytest.raises(SystemExit, match="REQEST_TTL_S"):
        load_settings()


def test_entries_of_dotenv_for_compose_and_libraries_are_ignored() -> None:
    example = (ROOT / ".env.example").read_text()
    named = {name.lower() for name in re.findall(r"^#?([A-Z_]+)=", example, re.MULTILINE)}
    compose = (ROOT / "docker-compose.yml").read_text()
    named |= {name.lower() for name in re.findall(r"\$\{([A-Z_]+)", compose)}
    assert named - READ_BY_OTHERS <= set(Settings.model_fields)
    lines = [example, "REQUEST_TTL_S=7", *(f"{name.upper()}=x" for name in READ_BY_OTHERS)]
    Path(".env").write_text("\n".join(lines))
    assert load_settings().request_ttl_s == 7


def test_a_dotenv_that_is_no_utf8_stops_the_start_with_one_line() -> None:
    Path(".env").write_bytes("REDIS_PASSWORD=Größe\n".encode("latin-1"))
    with pytest.raises(SystemExit, match=".env is not UTF-8; save it as UTF-8"):
        load_settings()


@pytest.fixture
def secrets(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The folder where a container finds its secrets."""
    folder = tmp_path / "secrets"
    folder.mkdir()
    monkeypatch.setattr(settings_module, "SECRETS", folder)
    return folder


def test_a_file_named_after_a_setting_is_that_setting(secrets: Path) -> None:
    (secrets / "redis_password").write_text("p@ss/word\n")
    (secrets / "hf_token").write_text("of somebody else\n")
    assert load_settings().redis_url == "redis://:p%40ss%2Fword@127.0.0.1:6379/0"


@pytest.mark.parametrize(
    ("url", "full"),
    [
        ("rediss://host:1/2", "rediss://:secret@host:1/2"),
        ("redis://worker@host", "redis://worker:secret@host"),
        ("redis://:own@host", "redis://:own@host"),
        ("unix:///run/redis.sock?db=1", "unix://:secret@/run/redis.sock?db=1"),
    ],
)
def test_the_password_completes_the_url(
    monkeypatch: pytest.MonkeyPatch, url: str, full: str
) -> None:
    monkeypatch.setenv("REDIS_PASSWORD", "secret")
    monkeypatch.setenv("REDIS_URL", url)
    assert load_settings().redis_url == full


def test_the_environment_wins_over_a_secret(monkeypatch: pytest.MonkeyPatch, secrets: Path) -> None:
    (secrets / "redis_password").write_text("of the file")
    monkeypatch.setenv("REDIS_PASSWORD", "given")
    assert load_settings().redis_url == "redis://:given@127.0.0.1:6379/0"


def test_a_secret_that_cannot_be_read_stops_the_start_with_one_line(
    monkeypatch: pytest.MonkeyPatch, secrets: Path
) -> None:
    (secrets / "redis_password").write_text("secret")

    def refuse(path: Path, *_args: object, **_options: object) -> str:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_text", refuse)  # root can read every file
    with pytest.raises(SystemExit) as stopped:
        load_settings()
    assert f"Permission denied: '{secrets}/redis_password'; the user" in str(stopped.value)
    assert "\n" not in str(stopped.value)


def test_every_setting_is_documented() -> None:
    documented = (ROOT / "docs" / "settings.md").read_text()
    for name in Settings.model_fields:
        assert f"`{name.upper()}`" in documented


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1048576", 2**20),
        ("512mb", 512 * 2**20),
        (" 4GB ", 4 * 2**30),
        ("2g", 2 * 10**9),
        ("0", 0),
    ],
)
def test_memory_is_read_as_redis_reads_it(
    monkeypatch: pytest.MonkeyPatch, text: str, size: int
) -> None:
    monkeypatch.setenv("REDIS_MAXMEMORY", text)
    assert Settings().redis_maxmemory == size


@pytest.mark.parametrize("text", ["much", "-1", "1.5gb", "4 gb", "1tb"])
def test_memory_that_redis_could_not_read_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    monkeypatch.setenv("REDIS_MAXMEMORY", text)
    with pytest.raises(SystemExit):
        load_settings()
    assert capsys.readouterr().err.startswith("settings: REDIS_MAXMEMORY: must be a number of b")


DEFAULTS = {
    "redis_password": None,
    "redis_url": "redis://127.0.0.1:6379/0",
    "public_url": None,
    "allowed_hosts": ("localhost", "127.0.0.1", "[::1]"),
    "fetch_allow_hosts": (),
    "checkpoint": "demo",
    "depth_annotator": "midas",
    "pose_annotator": "openpose",
    "profile": "exact",
    "warm_profiles": (),
    "mu": 1.15,
    "loras_dir": "",
    "loras_max_rank": 128,
    "loras_cache_bytes": 2_147_483_648,
    "request_ttl_s": 3600,
    "generate_timeout_s": 3000,
    "resume_every_s": 10,
    "sync_timeout_s": 300,
    "drain_s": 5,
    "grace_s": 10,
    "max_pixels": 16_777_216,
    "max_image_bytes": 33_554_432,
    "max_image_pixels": 67_108_864,
    "max_body_bytes": 67_108_864,
    "max_bodies_bytes": 536_870_912,
    "max_key_bodies_bytes": 268_435_456,
    "max_queued": 10_000,
    "memory_watermark": 0.8,
    "credits_per_work_unit": 1.0,
    "head_timeout_s": 10,
    "body_timeout_s": 120,
    "closed_paths": (),
    "playground": True,
    "cors_origins": (),
    "fetch_timeout_s": 20,
    "blob_url": "redis",
    "database_url": "",
    "history_days": 30,
    "output_ttl_s": None,
    "output_quota_bytes": None,
    "upload_ttl_s": 604_800,
    "upload_quota_bytes": 268_435_456,
    "source_quota_bytes": 536_870_912,
    "webhook_timeout_s": 10,
    "webhook_retries_s": (5, 60, 600, 3600, 7200, 14_400, 28_800),
    "content_filter": "",
    "content_filter_labels": ("nsfw",),
    "content_filter_threshold": 0.5,
    "output_metadata": True,
    "data_dir": Path("data"),
    "redis_maxmemory": None,
    "api_key": None,
    "api_key_file": None,
    "log_level": "info",
    "log_format": "text",
}


def test_every_setting_has_its_default(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    assert Settings().model_dump() == DEFAULTS


@pytest.mark.parametrize(
    ("name", "taken", "refused"),
    [
        ("REQUEST_TTL_S", ["1", "999999"], ["0", "-1", "1.5"]),
        ("GENERATE_TIMEOUT_S", ["1", "999999"], ["0", "-1", "1.5"]),
        ("RESUME_EVERY_S", ["0.001"], ["0", "-1"]),
        ("SYNC_TIMEOUT_S", ["0.001"], ["0", "-1"]),
        ("DRAIN_S", ["0", "0.5"], ["-0.001"]),
        ("GRACE_S", ["2"], ["1.999", "0"]),
        ("MAX_PIXELS", ["4096"], ["4095"]),
        ("MAX_IMAGE_BYTES", ["1024"], ["1023"]),
        ("MAX_IMAGE_PIXELS", ["4096", "134217728"], ["4095", "134217729"]),
        ("MAX_BODY_BYTES", ["1024"], ["1023"]),
        ("MAX_BODIES_BYTES", ["1024"], ["1023"]),
        ("MAX_KEY_BODIES_BYTES", ["1024"], ["1023"]),
        ("MAX_QUEUED", ["1"], ["0"]),
        ("MEMORY_WATERMARK", ["0.001", "1"], ["0", "1.001"]),
        ("CREDITS_PER_WORK_UNIT", ["0.000001", "1000000"], ["0", "0.0000009", "1000001", "nan"]),
        ("HEAD_TIMEOUT_S", ["0.001"], ["0"]),
        ("BODY_TIMEOUT_S", ["0.001"], ["0"]),
        ("FETCH_TIMEOUT_S", ["0.001"], ["0"]),
        ("HISTORY_DAYS", ["0", "3650"], ["-1", "3651"]),
        ("UPLOAD_TTL_S", ["1"], ["0"]),
        ("UPLOAD_QUOTA_BYTES", ["0"], ["-1"]),
        ("SOURCE_QUOTA_BYTES", ["0"], ["-1"]),
        ("WEBHOOK_TIMEOUT_S", ["0.001", "30"], ["0", "30.001"]),
        ("WEBHOOK_RETRIES_S", ["", "0", "86400", "5, 0.5,"], ["-1", "86401", "5,x"]),
        ("CONTENT_FILTER_THRESHOLD", ["0.001", "1"], ["0", "1.001"]),
        ("MU", ["-3", "0", "auto"], ["inf", "Auto", ""]),
        ("LOG_LEVEL", ["debug", "info", "warning", "error"], ["INFO", "critical"]),
        ("LOG_FORMAT", ["text", "json"], ["xml"]),
        ("CHECKPOINT", ["demo", "flux-dev-union-pro", "flux-dev-union-pro-2"], ["flux", ""]),
        ("WARM_PROFILES", ["", "fast", "turbo, exact"], ["Fast", "fast turbo"]),
        ("CLOSED_PATHS", ["", "/metrics, /openapi.json"], ["/health/live", "metrics"]),
        (
            "CORS_ORIGINS",
            ["", "*", "https://a.example, http://localhost:5173,", "chrome-extension://abc"],
            ["a.example", "https://a/x", "https://a/", "https://*.a", "null", "*,https://a"],
        ),
        ("OUTPUT_METADATA", ["true", "0"], ["perhaps"]),
        ("REDIS_MAXMEMORY", ["0", "999999999999999"], ["1000000000000000"]),
        ("OUTPUT_TTL_S", ["0", "315360000"], ["-1", "1.5", "7d", "315360001"]),
        ("OUTPUT_QUOTA_BYTES", ["0", "50gb"], ["-1", "50 gb", "much"]),
        (
            "PUBLIC_URL",
            ["http://a.example", "https://[::1]:8000/api"],
            ["https://u@a.example", "https://u:p@a.example", "https://a/#x", "ftp://a", "a"],
        ),
        (
            "ALLOWED_HOSTS",
            ["", "API.corp, [::1]:8000", "b\u00fccher.corp."],
            ["http://a", "a:0", "a:65536", "::1", "*", "a/b", "[a.b]"],
        ),
        ("FETCH_ALLOW_HOSTS", ["", "[::1]:80,10.0.0.1/8"], ["::1", "a:0", "10.0.0.0/33", "*"]),
    ],
)
def test_each_setting_has_its_range(
    monkeypatch: pytest.MonkeyPatch, name: str, taken: list[str], refused: list[str]
) -> None:
    for value in taken:
        monkeypatch.setenv(name, value)
        load_settings()
    for value in refused:
        monkeypatch.setenv(name, value)
        with pytest.raises(SystemExit) as stopped:
            load_settings()
        assert (stopped.value.code, str(stopped.value).split(": ")[1]) == (78, name), value


def test_hosts_are_kept_in_one_spelling(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALLOWED_HOSTS", "API.Corp., [0:0::0:1]:080, b\u00fccher.corp")
    assert load_settings().allowed_hosts == ("api.corp", "[::1]:80", "xn--bcher-kva.corp")
    monkeypatch.setenv("CORS_ORIGINS", "HTTPS://App.corp:443, http://localhost:5173")
    assert load_settings().cors_origins == ("https://app.corp", "http://localhost:5173")
    monkeypatch.setenv("PUBLIC_URL", "HTTP://[2001:DB8::0:1]:80/Api")
    assert str(load_settings().public_url) == "http://[2001:db8::1]/Api"


@pytest.mark.parametrize(
    ("url", "full"),
    [
        ("redis://[::1]:6379/0", "redis://:secret@[::1]:6379/0"),
        ("redis://worker@[::1]", "redis://worker:secret@[::1]"),
        (
            "redis+sentinel://[::1]:26379,b/main/1",
            "redis+sentinel://:secret@[::1]:26379,b/main/1",
        ),
    ],
)
def test_the_password_completes_a_url_with_an_ipv6_address(
    monkeypatch: pytest.MonkeyPatch, url: str, full: str
) -> None:
    monkeypatch.setenv("REDIS_PASSWORD", "secret")
    monkeypatch.setenv("REDIS_URL", url)
    assert load_settings().redis_url == full


EDGES = [
    # name, default, smallest allowed, refused below it, largest allowed, refused above it
    ("LORAS_MAX_RANK", 128, "1", "0", "4096", "4097"),
    ("LORAS_CACHE_BYTES", 2_147_483_648, "0", "-1", None, None),
    ("REQUEST_TTL_S", 3600, "1", "0", None, None),
    ("GENERATE_TIMEOUT_S", 3000, "1", "0", None, None),
    ("RESUME_EVERY_S", 10, "0.001", "0", None, None),
    ("SYNC_TIMEOUT_S", 300, "0.001", "0", None, None),
    ("DRAIN_S", 5, "0", "-0.001", None, None),
    ("GRACE_S", 10, "2", "1.999", None, None),
    ("MAX_PIXELS", 16_777_216, "4096", "4095", None, None),
    ("MAX_IMAGE_BYTES", 33_554_432, "1024", "1023", None, None),
    ("MAX_IMAGE_PIXELS", 67_108_864, "4096", "4095", "134217728", "134217729"),
    ("MAX_BODY_BYTES", 67_108_864, "1024", "1023", None, None),
    ("MAX_BODIES_BYTES", 536_870_912, "1024", "1023", None, None),
    ("MAX_KEY_BODIES_BYTES", 268_435_456, "1024", "1023", None, None),
    ("MAX_QUEUED", 10_000, "1", "0", None, None),
    ("MEMORY_WATERMARK", 0.8, "0.001", "0", "1", "1.001"),
    ("CREDITS_PER_WORK_UNIT", 1.0, "1e-6", "9e-7", "1e6", "1000001"),
    ("HEAD_TIMEOUT_S", 10, "0.001", "0", None, None),
    ("BODY_TIMEOUT_S", 120, "0.001", "0", None, None),
    ("FETCH_TIMEOUT_S", 20, "0.001", "0", None, None),
    ("HISTORY_DAYS", 30, "0", "-1", "3650", "3651"),
    ("UPLOAD_TTL_S", 604_800, "1", "0", None, None),
    ("UPLOAD_QUOTA_BYTES", 268_435_456, "0", "-1", None, None),
    ("SOURCE_QUOTA_BYTES", 536_870_912, "0", "-1", None, None),
    ("WEBHOOK_TIMEOUT_S", 10, "0.001", "0", "30", "30.001"),
    ("CONTENT_FILTER_THRESHOLD", 0.5, "0.001", "0", "1", "1.001"),
]


@pytest.mark.parametrize(
    ("name", "default", "smallest", "below", "largest", "above"),
    EDGES,
    ids=[edge[0] for edge in EDGES],
)
def test_a_number_has_its_default_and_its_bounds(
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    default: float,
    smallest: str,
    below: str,
    largest: str | None,
    above: str | None,
) -> None:
    assert getattr(load_settings(), name.lower()) == default
    for allowed in filter(None, (smallest, largest)):
        monkeypatch.setenv(name, allowed)
        assert getattr(load_settings(), name.lower()) == float(allowed)
    for refused in filter(None, (below, above)):
        monkeypatch.setenv(name, refused)
        with pytest.raises(SystemExit, match=f"settings: {name}: "):
            load_settings()


def test_every_number_among_the_settings_has_its_bounds_here() -> None:
    named = {edge[0].lower() for edge in EDGES}
    numbers = {
        name for name, field in Settings.model_fields.items() if field.annotation in (int, float)
    }
    assert numbers - named == set()


def test_webhooks_are_tried_again_after_growing_pauses_of_a_day_at_most(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert load_settings().webhook_retries_s == (5, 60, 600, 3600, 7200, 14_400, 28_800)
    for allowed, pauses in (("", ()), ("0,86400", (0, 86_400)), ("5", (5,))):
        monkeypatch.setenv("WEBHOOK_RETRIES_S", allowed)
        assert load_settings().webhook_retries_s == pauses
    for refused in ("-0.001", "86400.001", "5;6"):
        monkeypatch.setenv("WEBHOOK_RETRIES_S", refused)
        with pytest.raises(SystemExit, match="settings: WEBHOOK_RETRIES_S: "):
            load_settings()


@pytest.mark.parametrize(
    ("settings", "life_s"),
    [
        ({}, 0),
        ({"blob_url": "file:///srv/blobs"}, 604_800),
        ({"blob_url": "s3://pictures/a"}, 604_800),
        ({"blob_url": "file:///srv/blobs", "output_ttl_s": 0}, 0),
        ({"output_ttl_s": 86_400}, 86_400),
    ],
)
def test_pictures_outside_of_redis_live_as_long_as_those_of_the_hosted_service(
    settings: dict[str, Any], life_s: int
) -> None:
    assert Settings(**settings).output_life_s == life_s


def test_the_folder_of_loras(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without LORAS_DIR that of the demo, if the demo is served and has one."""
    monkeypatch.setattr("app.core.settings.DEMO_LORAS", tmp_path / "absent")
    assert Settings().loras_folder is None
    monkeypatch.setattr("app.core.settings.DEMO_LORAS", tmp_path)
    assert Settings().loras_folder == tmp_path
    assert Settings(checkpoint="flux-dev-union-pro").loras_folder is None
    for checkpoint in ("demo", "flux-dev-union-pro"):
        own = Settings(checkpoint=checkpoint, loras_dir="/srv/loras")
        assert own.loras_folder == Path("/srv/loras")
