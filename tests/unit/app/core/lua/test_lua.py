"""How a script is put together from its file, fragments and names."""

from __future__ import annotations

from importlib.resources import files

import pytest
from redis import Redis

from app.core.lua import script

NAMES = sorted(
    f"{folder.name}/{file.name.removesuffix('.lua')}"
    for folder in files("app.core.lua").iterdir()
    if folder.is_dir() and folder.name not in ("fragments", "__pycache__")
    for file in folder.iterdir()
)


@pytest.mark.parametrize("name", NAMES)
def test_every_script_compiles_with_all_that_it_names(redis: Redis, name: str) -> None:
    assert redis.script_load(script(name))


def test_a_fragment_that_two_others_need_is_there_once() -> None:
    text = script("transitions/complete")
    assert text.count("local function count(by, ...)") == 1
    assert text.count("local function place(") == 1


def test_only_the_names_that_a_script_uses_are_declared() -> None:
    text = script("webhooks/take")
    assert "local function delivery_key(request_id)" in text
    assert "request_key" not in text


def test_a_name_in_a_comment_is_not_declared() -> None:
    assert "local function sources_key" not in script("queueing/live_workers")


def test_a_script_that_is_not_there_is_an_error() -> None:
    with pytest.raises(FileNotFoundError):
        script("transitions/revive")
