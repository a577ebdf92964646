"""Doctor's checks of LORAS_DIR: it can be read, what is in it is served, its cache fits into the
memory of this machine. Reads the files' headers and sums; loads no weights.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from app.core.findings import Finding, fail, ok, warn
from app.core.settings import Settings
from app.core.system.memory import memory_limit
from models.loras.lora_folder import LoraFolder

_CACHE_SHARE = 0.25
"""Of the RAM, above which the cache leaves too little for weights that are streamed from RAM."""


def examine_loras(settings: Settings) -> Iterator[Finding]:
    """Nothing if the server has no LoRAs."""
    if settings.loras_folder is not None:
        yield from _files(settings.loras_folder)
        yield _cache(settings.loras_cache_bytes, memory_limit())


def _files(path: Path) -> Iterator[Finding]:
    folder = LoraFolder(path)
    try:
        files, ignored = folder.files(), folder.ignored()
    except OSError as error:
        reason = error.strerror or str(error)
        remedy = "see that LORAS_DIR names a folder that this user may read"
        yield fail("loras", f"{path}: {reason}", remedy)
        return
    yield ok("loras", f"usable files in {path}: {sum(file.error is None for file in files)}")
    for file in files:
        if file.error is not None:
            remedy = "requests with it fail; remove it, or replace it by one that fits"
            yield warn("loras", f"{file.path.name}: {file.error}", remedy)
    for name in ignored:
        remedy = "name it with letters, digits, dots, spaces, _ and -; copy what a link leads to"
        yield warn("loras", f"{name} cannot be named by requests", remedy)


def _cache(size: int, ram: int) -> Finding:
    state = f"at most {size / 1e9:.1f} of {ram / 1e9:.1f} GB of RAM in a gpu worker"
    if size > _CACHE_SHARE * ram:
        remedy = "lower LORAS_CACHE_BYTES; weights may need this memory"
        return warn("lora cache", state, remedy)
    return ok("lora cache", state)
