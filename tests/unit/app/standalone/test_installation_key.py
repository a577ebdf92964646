"""The key of an installation: its sources, and how it is masked in output."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from app.core.settings import Settings, load_settings
from app.standalone.installation_key import InstallationKey, given_key, installation_key

CHOSEN = "SG_" + "5" * 32


@pytest.fixture(autouse=True)
def _elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


def settings(**given: object) -> Settings:
    return load_settings(**given)


def test_a_key_is_minted_once_and_remembered(tmp_path: Path) -> None:
    first = installation_key(None, tmp_path)
    again = installation_key(None, tmp_path)
    assert (first.minted, again.minted) == (True, False)
    assert first.secret == again.secret
    file = tmp_path / "api-key"
    assert file.read_text() == f"{first.secret}\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert again.file == file


def test_a_given_key_wins_and_is_not_written_down(tmp_path: Path) -> None:
    assert installation_key(CHOSEN, tmp_path) == InstallationKey(CHOSEN)
    assert list(tmp_path.iterdir()) == []


def test_a_key_file_that_a_full_disk_left_empty(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    file = tmp_path / "api-key"
    with monkeypatch.context() as no_room:
        no_room.setattr("app.standalone.installation_key.os.fdopen", full)
        with pytest.raises(OSError, match="No space"):
            installation_key(None, tmp_path)
    assert not file.exists()
    file.touch()
    made = installation_key(None, tmp_path)
    assert made.minted
    assert file.read_text() == f"{made.secret}\n"


def test_the_printed_placeholder_of_a_key_is_one_word_and_no_key() -> None:
    for secret in (CHOSEN, "SG_chosen", "x"):
        masked = InstallationKey(secret).masked
        assert len(masked.split()) == 1
        assert masked.isascii()
        assert secret not in masked
        assert len(masked) - 3 <= len(secret) / 5
    assert InstallationKey(CHOSEN).masked == "SG_5555..."


def test_the_installation_key_comes_from_the_environment_or_a_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert given_key(settings()) == ""
    file = tmp_path / "secret"
    file.write_text(f"{CHOSEN}\n")
    monkeypatch.setenv("API_KEY_FILE", str(file))
    assert given_key(settings()) == CHOSEN
    monkeypatch.setenv("API_KEY", "SG_env")
    assert given_key(settings()) == "SG_env"
    assert "SG_env" not in repr(settings())
    monkeypatch.setenv("API_KEY", "")
    assert given_key(settings()) == CHOSEN


@pytest.mark.parametrize("content", ["", " \n", "two words", "\x7f"])
def test_an_invalid_key_is_refused_without_being_printed(content: str, tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text(content)
    with pytest.raises(ValueError, match="API") as refused:
        given_key(settings(api_key_file=file))
    assert not content.strip() or content not in str(refused.value)


def test_a_file_that_is_no_text_is_refused_as_a_key(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_bytes(b"key\xff")
    with pytest.raises(ValueError, match="visible ASCII"):
        given_key(settings(api_key_file=file))
