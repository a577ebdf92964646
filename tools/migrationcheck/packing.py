"""Pictures inside JSON as files beside it: base64 in memory, `{"file": NAME}` in a recording."""

from __future__ import annotations

import base64
import binascii
import hashlib
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from app.core.images.file_kinds import picture_kind

_LEAST_BASE64 = 64
"""Characters; a shorter text holds no picture."""


def pack(folder: Path, value: Any) -> Any:
    """The value with its pictures as files in the folder; packed twice, a picture is one file."""
    if isinstance(value, dict):
        return {key: pack(folder, item) for key, item in value.items()}
    if isinstance(value, list):
        return [pack(folder, item) for item in value]
    picture = picture_in(value)
    return value if picture is None else {"file": keep(folder, picture)}


def picture_in(value: Any) -> bytes | None:
    """The picture that a string holds in base64; None if it holds none."""
    if not isinstance(value, str) or len(value) < _LEAST_BASE64:
        return None
    try:
        data = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        return None
    return data if picture_kind(data) else None


def keep(folder: Path, picture: bytes) -> str:
    """The name of the file that holds the picture, made from its content."""
    name = f"{hashlib.sha256(picture).hexdigest()[:12]}.{picture_kind(picture)}"
    (folder / name).write_bytes(picture)
    return name


def without_signatures(value: Any) -> Any:
    """The value with its links cut before their query."""
    if isinstance(value, dict):
        return {key: without_signatures(item) for key, item in value.items()}
    if isinstance(value, list):
        return [without_signatures(item) for item in value]
    if isinstance(value, str) and value.startswith(("http://", "https://")):
        return urlsplit(value)._replace(query="", fragment="").geturl()
    return value


def unpack(folder: Path, value: Any) -> Any:
    """The value as it was. Raises OSError or ValueError for a file that is not in the folder."""
    if isinstance(value, list):
        return [unpack(folder, item) for item in value]
    if not isinstance(value, dict):
        return value
    if value.keys() == {"file"}:
        return base64.b64encode(read_picture(folder, value["file"])).decode()
    return {key: unpack(folder, item) for key, item in value.items()}


def read_picture(folder: Path, name: str) -> bytes:
    """Raises OSError or ValueError for a file that is not in the folder."""
    if Path(name).name != name:  # a recording of someone else must not name other files
        raise ValueError(f"{name} is not beside the recording")
    return (folder / name).read_bytes()
