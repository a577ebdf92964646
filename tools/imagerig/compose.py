"""Reads the services of docker-compose.yml, with the defaults of its variables.

Reads only the fields that a run without an engine supports.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

_VARIABLE = re.compile(r"\$\{\w+:-([^}]*)\}")
_OWN_IMAGE = re.compile(r"flux-controlnet-(api|worker):")


@dataclass(frozen=True)
class Service:
    """volumes and secrets: name -> path inside; `:ro` of a volume is not obeyed. command: None
    where the image's own serves. target: of the Dockerfile, by the image's name; None for somebody
    else's image.
    """

    name: str
    target: str | None
    command: list[str] | None
    environment: dict[str, str]
    volumes: dict[str, str]
    secrets: dict[str, str]
    user: str | None
    read_only: bool
    health: list[str] | None


def services(file: Path) -> dict[str, Service]:
    """Every service of the file, profiles regardless."""
    described = yaml.safe_load(file.read_text())["services"]
    return {name: _service(name, text) for name, text in described.items()}


def _service(name: str, text: dict[str, Any]) -> Service:
    command = text.get("command")
    test = text.get("healthcheck", {}).get("test")
    own = _OWN_IMAGE.match(text["image"])
    return Service(
        name=name,
        target=own[1] if own else None,
        command=[_plain(part) for part in command] if command else None,
        environment={key: _plain(value) for key, value in text["environment"].items()},
        volumes=dict(volume.split(":")[:2] for volume in text.get("volumes", [])),
        secrets={secret: f"/run/secrets/{secret}" for secret in text.get("secrets", [])},
        user=text.get("user"),
        read_only=text.get("read_only", False),
        health=["sh", "-c", _plain(test[1])] if test else None,
    )


def _plain(value: str) -> str:
    """With its variables' defaults, and `$$` as the `$` that it means."""
    return _VARIABLE.sub(r"\1", value).replace("$$", "$")
