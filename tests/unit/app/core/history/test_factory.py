"""Which values DATABASE_URL may have."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from app.core.settings import Settings, load_settings


@pytest.mark.parametrize(
    "url",
    ["sqlite:////tmp/history.db", "postgresql://u:p@h/n", "postgresql+psycopg://h/n", ""],
)
def test_database_urls_that_are_taken(url: str) -> None:
    assert Settings(database_url=url).database_url == url


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("nonsense", "is not a database URL"),
        ("sqlite://", "sqlite needs a file"),
        ("sqlite:////no/such/folder/file", "sqlite needs a file in a folder that exists"),
        ("mysql://u:secret@h/n", "must be sqlite:////FOLDER/FILE or postgresql://"),
    ],
)
def test_a_bad_database_url_stops_the_start_with_one_line(
    monkeypatch: pytest.MonkeyPatch, url: str, sentence: str
) -> None:
    monkeypatch.setenv("DATABASE_URL", url)
    with pytest.raises(SystemExit) as stopped:
        load_settings()
    line = str(stopped.value)
    assert line.startswith("settings: DATABASE_URL: ")
    assert sentence in line
    assert "\n" not in line
    assert "secret" not in line
    with pytest.raises(ValidationError):
        Settings(database_url=url)
