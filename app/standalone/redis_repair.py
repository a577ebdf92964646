"""Repairs the append-only file of the embedded Redis (`python -m app.cli redis repair`): truncates
it before the first unreadable byte, and keeps the damaged file beside it.

redis-server, called under the name of redis-check-aof, does the check. Redis 6 writes one file,
Redis 7 several with a manifest. Files after the damaged one continue lost data, so they are removed
from the manifest.
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from app.core.system.exit import refuse
from app.core.system.private_files import mask_others
from app.standalone.data_dir import locked
from app.standalone.embedded_redis import redis_binary, redis_folder

_CHECK_LOG = "redis-check-aof"
_CHECK_SNAPSHOT = "redis-check-rdb"
_SINGLE_FILE = "appendonly.aof"
_FOLDER = "appendonlydir"


def repair_command(data_dir: Path) -> str:
    """The shell command that repairs the files of this folder."""
    words = [sys.executable, "-m", "app.cli", "redis", "repair", "--data-dir", str(data_dir)]
    return shlex.join(words)


def repair(data_dir: Path) -> int:
    """The exit code. Exits with one line if a server uses the folder, there is no append-only file,
    or nothing before the damage can be kept."""
    folder = redis_folder(data_dir)
    manifest = next(iter((folder / _FOLDER).glob("*.manifest")), None)
    files = [folder / _SINGLE_FILE] if manifest is None else _parts(manifest)
    if not all(file.exists() for file in files):
        refuse(f"redis: {folder} has no append-only file; name the server's DATA_DIR")
    mask_others()
    with locked(data_dir, "redis"):
        damaged = next((file for file in files if not _sound(file)), None)
        if damaged is None:
            print(f"sound: {', '.join(map(str, files))}")
            return 0
        copy = _copy(damaged, folder)
        size_before = damaged.stat().st_size
        _truncate(damaged, copy)
        later = files[files.index(damaged) + 1 :]
        if manifest is not None and later:
            _remove_parts(manifest, later, folder)
        size = damaged.stat().st_size
        print(f"repaired: {damaged} keeps {size} of {size_before} bytes; what came later is lost")
        print(f"the damaged file is {copy}; remove it when nothing is missing")
    return 0


def _sound(file: Path) -> bool:
    return _succeeds(_CHECK_SNAPSHOT if _is_snapshot(file) else _CHECK_LOG, file)


def _is_snapshot(file: Path) -> bool:
    """Whether it is the base file of Redis 7, an RDB snapshot. A damaged one cannot be truncated,
    and the log checker of Valkey 9 reports a sound one as damaged."""
    return file.suffix == ".rdb"


def _truncate(file: Path, copy: Path) -> None:
    if _is_snapshot(file) or not _succeeds(_CHECK_LOG, "--fix", file):
        copy.unlink()
        refuse(
            f"redis: {file} is damaged where nothing before it could be kept; restore a backup "
            "(docs/operations.md), or set DATA_DIR to an empty folder"
        )


def _succeeds(checker: str, *arguments: str | Path) -> bool:
    """Whether the checker exits with 0. Its output may contain bytes of the file: not text."""
    result = subprocess.run(
        [checker, *arguments],
        executable=redis_binary(),
        input=b"y\n",  # it asks before it truncates
        capture_output=True,
        check=False,
    )
    return result.returncode == 0


def _copy(file: Path, folder: Path) -> Path:
    free, size = shutil.disk_usage(folder).free, file.stat().st_size
    if free < size:
        refuse(f"redis: {size / 1e6:.0f} MB are needed for a copy of {file}; make room")
    copy = _backup_path(file, folder)
    shutil.copyfile(file, copy)
    return copy


def _backup_path(file: Path, folder: Path) -> Path:
    return folder / f"{file.name}.damaged-{time.time_ns()}"


def _parts(manifest: Path) -> list[Path]:
    """The files of a manifest that hold data, in the order in which Redis reads them."""
    return [manifest.with_name(words[1]) for words in _lines(manifest) if words[5] != "h"]


def _remove_parts(manifest: Path, parts: Sequence[Path], folder: Path) -> None:
    names = {part.name for part in parts}
    lines = [line for line in _lines(manifest) if line[1] not in names]
    new = manifest.with_suffix(".new")
    new.write_text("".join(shlex.join(line) + "\n" for line in lines))
    new.replace(manifest)
    for part in parts:
        part.replace(_backup_path(part, folder))


def _lines(manifest: Path) -> list[list[str]]:
    """`file NAME seq NUMBER type b|h|i`, a line each."""
    return [shlex.split(line) for line in manifest.read_text().splitlines()]
