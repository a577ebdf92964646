"""Settings come from the environment, and a bad one stops the start with one line."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from app.core import settings as settings_module
from app.core.settings import EXIT_CONFIG, READ_BY_OTHERS, Settings, load_settings

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


def test_what_dotenv_holds_for_compose_and_libraries_stops_nothing() -> None:
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
