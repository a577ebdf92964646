"""`python -m app.cli redis repair`: cuts the append-only file of the embedded Redis before the
first place that cannot be read, and keeps the damaged file beside it.

Reading is left to Redis itself: its server is also its checker when it is called by that name. One
file (Redis 6) or several with a manifest (Redis 7); of several, those behind the damage are taken
out of the manifest, since they continue what is lost.
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
_SINGLE = "appendonly.aof"
_SEVERAL = "appendonlydir"


def repair_command(data_dir: Path) -> str:
    """What to type to repair the files of this folder."""
    words = [sys.executable, "-m", "app.cli", "redis", "repair", "--data-dir", str(data_dir)]
    return shlex.join(words)


def repair(data_dir: Path) -> int:
    """Exit code. Leaves with one line when a server works in the folder, it has no such file, or
    the damage is where nothing before it could be kept."""
    folder = redis_folder(data_dir)
    manifest = next(iter((folder / _SEVERAL).glob("*.manifest")), None)
    files = [folder / _SINGLE] if manifest is None else _parts(manifest)
    if not all(file.exists() for file in files):
        refuse(f"redis: {folder} has no append-only file; name the server's DATA_DIR")
    mask_others()
    with locked(data_dir, "redis"):
        damaged = next((file for file in files if not _sound(file)), None)
        if damaged is None:
            print(f"sound: {', '.join(map(str, files))}")
            return 0
        kept = _keep_copy(damaged, folder)
        before = damaged.stat().st_size
        _cut(damaged, kept)
        behind = files[files.index(damaged) + 1 :]
        if manifest is not None and behind:
            _take_out(manifest, behind, folder)
        after = damaged.stat().st_size
        print(f"repaired: {damaged} keeps {after} of {before} bytes; what came later is lost")
        print(f"the damaged file is {kept}; remove it when nothing is missing")
    return 0


def _sound(file: Path) -> bool:
    return _succeeds(_CHECK_SNAPSHOT if _is_snapshot(file) else _CHECK_LOG, file)


def _is_snapshot(file: Path) -> bool:
    """Whether it is the base that Redis 7 writes as a whole. Nothing of it can be kept when it is
    damaged, and the checker of Valkey 9 for logs takes a sound one for damaged."""
    return file.suffix == ".rdb"


def _cut(file: Path, copy: Path) -> None:
    if _is_snapshot(file) or not _succeeds(_CHECK_LOG, "--fix", file):
        copy.unlink()
        refuse(
            f"redis: {file} is damaged where nothing before it could be kept; restore a backup "
            "(docs/operations.md), or set DATA_DIR to an empty folder"
        )


def _succeeds(checker: str, *arguments: str | Path) -> bool:
    """What it prints may hold bytes of the file, so it is no text."""
    done = subprocess.run(
        [checker, *arguments],
        executable=redis_binary(),
        input=b"y\n",  # it asks before it cuts
        capture_output=True,
        check=False,
    )
    return done.returncode == 0


def _keep_copy(file: Path, folder: Path) -> Path:
    free, size = shutil.disk_usage(folder).free, file.stat().st_size
    if free < size:
        refuse(f"redis: {size / 1e6:.0f} MB are needed for a copy of {file}; make room")
    copy = _put_aside(file, folder)
    shutil.copyfile(file, copy)
    return copy


def _put_aside(file: Path, folder: Path) -> Path:
    return folder / f"{file.name}.damaged-{time.time_ns()}"


def _parts(manifest: Path) -> list[Path]:
    """The files of a manifest that hold data, in the order in which Redis reads them."""
    return [manifest.with_name(words[1]) for words in _lines(manifest) if words[5] != "h"]


def _take_out(manifest: Path, parts: Sequence[Path], folder: Path) -> None:
    names = {part.name for part in parts}
    lines = [line for line in _lines(manifest) if line[1] not in names]
    new = manifest.with_suffix(".new")
    new.write_text("".join(shlex.join(line) + "\n" for line in lines))
    new.replace(manifest)
    for part in parts:
        part.replace(_put_aside(part, folder))


def _lines(manifest: Path) -> list[list[str]]:
    """`file NAME seq NUMBER type b|h|i`, a line each."""
    return [shlex.split(line) for line in manifest.read_text().splitlines()]
