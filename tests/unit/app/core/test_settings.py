"""Settings come from the environment, and a bad one stops the start with one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.core.settings import Settings, load_settings

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
        ("PUBLIC_URL", "https://host/path?query=1"),
        ("CLOSED_PATHS", "/v2/flux-controlnet"),
        ("HEAD_TIMEOUT_S", "0"),
        ("MU", "nan"),
        ("MU", "much"),
    ],
)
def test_a_bad_value_stops_the_start_with_one_line(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as stopped:
        load_settings()
    assert str(stopped.value).startswith(f"settings: {name}: ")
    assert "\n" not in str(stopped.value)


@pytest.mark.parametrize("profile", ["exact", "fast", "turbo"])
def test_every_profile_is_a_setting(monkeypatch: pytest.MonkeyPatch, profile: str) -> None:
    assert load_settings().profile == "exact"
    monkeypatch.setenv("PROFILE", profile)
    assert load_settings().profile == profile


def test_an_unknown_name_in_dotenv_stops_the_start() -> None:
    Path(".env").write_text("REQEST_TTL_S=10\n")
    with pytest.raises(SystemExit, match="REQEST_TTL_S"):
        load_settings()


def test_every_setting_is_documented() -> None:
    documented = (ROOT / "docs" / "settings.md").read_text()
    for name in Settings.model_fields:
        assert f"`{name.upper()}`" in documented
