"""`python -m app.cli models loras ...`: what LoRA files hold, from their headers alone."""

from __future__ import annotations

import sys
from pathlib import Path

from app.core.settings import Settings
from models.loras.lora_file import LoraFile, read_lora_file
from models.loras.lora_folder import LoraFolder

_NOT_CHECKED = (
    "its header has no fault; whether its layers fit the checkpoint is known at the first request"
)


def list_loras(settings: Settings) -> int:
    """Exit code. A line for each file of LORAS_DIR. Raises OSError for a folder that cannot be
    read."""
    if settings.loras_folder is None:
        print("LORAS_DIR is not set, so the server has no LoRAs", file=sys.stderr)
        return 0
    folder = LoraFolder(settings.loras_folder)
    for file in folder.files():
        fault = f"  refused: {file.error}" if file.error else ""
        print(f"{file.name}  {_summary(file)}{fault}")
    for name in folder.ignored():
        print(f"{name}  not served: rename it, or copy it into the folder", file=sys.stderr)
    return 0


def check_lora(path: Path) -> int:
    """Exit code: 1 if a request with this file would be refused."""
    file = read_lora_file(path)
    print(f"{path.name}: {_summary(file)}")
    print(f"SHA-256: {file.sha256 or 'unknown'}")
    print(f"base model: {file.base_model or 'not said'}")
    print(f"trigger words: {', '.join(file.trigger_words) or 'none'}")
    print(f"refused: {file.error}" if file.error else f"fit: {_NOT_CHECKED}")
    return 1 if file.error else 0


def _summary(file: LoraFile) -> str:
    size = f"{file.bytes / 1e6:.1f} MB"
    return f"format {file.format}, rank {file.rank}, {file.layers} layers, {size}"
