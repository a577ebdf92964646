"""The key that `scripts/up` serves with: where it comes from, and how much of it is printed.

Given (`--api-key`, API_KEY, API_KEY_FILE), else remembered in DATA_DIR, else minted and remembered.
Knows nothing of how a key is checked.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from app.core.accounts.api_keys import mint
from app.core.settings import Settings
from app.core.system.private_files import FILE_MODE

_SECRET = re.compile("[!-~]{1,255}")
_SHOWN_SHARE = 5
"""A masked key shows its first fifth: 4 of the 32 digits of one that was minted."""


@dataclass(frozen=True, slots=True)
class InstallationKey:
    """minted: it is new, and nobody has seen it. file: where it is kept; None for a given one."""

    secret: str
    minted: bool = False
    file: Path | None = None

    @property
    def masked(self) -> str:
        """Enough to tell it from another one; one word, as the key itself."""
        return self.secret[: len(self.secret) // _SHOWN_SHARE] + "..."


def given_key(settings: Settings) -> str:
    """The key of API_KEY or API_KEY_FILE; "" without one. OSError or ValueError, fit to be shown,
    for a file that cannot be read and for a text that no header could carry."""
    secret = ""
    if settings.api_key is not None:
        secret = settings.api_key.get_secret_value()
    if not secret and settings.api_key_file is not None:
        # What is no text becomes a character that no key may have.
        secret = settings.api_key_file.read_text(errors="replace").strip()
        if not secret:
            raise ValueError(f"API_KEY_FILE: {settings.api_key_file} is empty")
    if secret:
        check_secret(secret)
    return secret


def check_secret(secret: str) -> None:
    """Raises ValueError, without the text, when it cannot be a key."""
    if not _SECRET.fullmatch(secret):
        raise ValueError("the API key must be 1 to 255 visible ASCII characters")


def installation_key(given: str | None, data_dir: Path) -> InstallationKey:
    """The given key, else the remembered one, else a new one that is remembered from now on."""
    if given:
        return InstallationKey(given)
    file = data_dir / "api-key"
    remembered = file.read_text().strip() if file.exists() else ""
    if remembered:
        return InstallationKey(remembered, file=file)
    secret = mint()
    new = file.with_suffix(".new")  # a full disk must not leave half a key
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, FILE_MODE)
    with os.fdopen(descriptor, "w") as writing:
        writing.write(secret + "\n")
    new.replace(file)
    return InstallationKey(secret, minted=True, file=file)
