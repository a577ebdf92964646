"""The API key of a `scripts/up` installation: its source, its file, and its masked form.

The key is configured (`--api-key`, API_KEY, API_KEY_FILE), else read from DATA_DIR, else minted and
stored there. Does not know how a key is checked.
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
"""A masked key shows its first fifth: 4 of the 32 digits of a minted key."""


@dataclass(frozen=True, slots=True)
class InstallationKey:
    """minted: it is new and was never printed. file: where it is stored; None if configured."""

    secret: str
    minted: bool = False
    file: Path | None = None

    @property
    def masked(self) -> str:
        """Enough to distinguish keys; one word, like the key itself."""
        return self.secret[: len(self.secret) // _SHOWN_SHARE] + "..."


def given_key(settings: Settings) -> str:
    """The key of API_KEY or API_KEY_FILE; "" if neither is set. Raises OSError for an unreadable
    file and ValueError for a text that no header can carry; both are safe to print."""
    secret = ""
    if settings.api_key is not None:
        secret = settings.api_key.get_secret_value()
    if not secret and settings.api_key_file is not None:
        # Undecodable bytes become a character that check_secret refuses.
        secret = settings.api_key_file.read_text(errors="replace").strip()
        if not secret:
            raise ValueError(f"API_KEY_FILE: {settings.api_key_file} is empty")
    if secret:
        check_secret(secret)
    return secret


def check_secret(secret: str) -> None:
    """Raises ValueError, which does not contain the text, if it cannot be an API key."""
    if not _SECRET.fullmatch(secret):
        raise ValueError("the API key must be 1 to 255 visible ASCII characters")


def installation_key(configured: str | None, data_dir: Path) -> InstallationKey:
    """The configured key, else the stored one, else a new one, which is stored."""
    if configured:
        return InstallationKey(configured)
    file = data_dir / "api-key"
    stored = file.read_text().strip() if file.exists() else ""
    if stored:
        return InstallationKey(stored, file=file)
    secret = mint()
    new = file.with_suffix(".new")  # a full disk must not truncate the stored key
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, FILE_MODE)
    with os.fdopen(descriptor, "w") as key_file:
        key_file.write(secret + "\n")
    new.replace(file)
    return InstallationKey(secret, minted=True, file=file)
