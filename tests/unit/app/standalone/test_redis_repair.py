"""The damaged append-only file of the embedded Redis is repaired with local programs."""

from __future__ import annotations

import shlex
import stat
import subprocess
from pathlib import Path

import pytest
from redis import Redis

from app.cli import main
from app.core.system.exit import EXIT_CONFIG
from app.standalone.data_dir import locked
from app.standalone.embedded_redis import redis_folder
from app.standalone.redis_repair import repair_command
from tests.support.servers import ROOT, environment, running_redis


def logged(*words: str) -> bytes:
    """A command as every Redis writes it into its append-only file."""
    return b"*%d\r\n" % len(words) + b"".join(
        b"$%d\r\n%s\r\n" % (len(word), word.encode()) for word in words
    )


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """A DATA_DIR whose append-only file, one as Redis 6 keeps it, has a hundred keys. Written here,
    for a later Redis would keep several; it reads this one too."""
    sets = (logged("SET", f"key:{number}", "x" * 50) for number in range(100))
    folder = redis_folder(tmp_path / "data")
    folder.mkdir(parents=True)
    (folder / "appendonly.aof").write_bytes(logged("SELECT", "0") + b"".join(sets))
    return tmp_path / "data"


def single(data_dir: Path) -> Path:
    return redis_folder(data_dir) / "appendonly.aof"


def damage(file: Path, key: int) -> None:
    """Zeros where the command that sets this key begins, as a power failure may leave them."""
    data = bytearray(file.read_bytes())
    at = data.index(b"*3\r\n$3\r\nSET\r\n$%d\r\nkey:%d\r" % (len(f"key:{key}"), key))
    data[at : at + 8] = bytes(8)
    file.write_bytes(data)


def several(data_dir: Path) -> list[Path]:
    """The same commands as Redis 7 keeps them: a base and two files that continue it."""
    data = single(data_dir).read_bytes()
    folder = redis_folder(data_dir) / "appendonlydir"
    folder.mkdir()
    third = data.index(b"*3\r\n$3\r\nSET\r\n$6\r\nkey:33")
    two_thirds = data.index(b"*3\r\n$3\r\nSET\r\n$6\r\nkey:66")
    # The later parts have a database of their own to select, as in Redis' own files.
    select = b"*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n"
    parts = {
        "appendonly.aof.1.base.aof": data[:third],
        "appendonly.aof.1.incr.aof": select + data[third:two_thirds],
        "appendonly.aof.2.incr.aof": select + data[two_thirds:],
    }
    for name, content in parts.items():
        (folder / name).write_bytes(content)
    lines = [f"file {name} seq {name.split('.')[2]} type {name.split('.')[3][0]}" for name in parts]
    (folder / "appendonly.aof.manifest").write_text("\n".join(lines) + "\n")
    single(data_dir).unlink()
    return [folder / name for name in parts]


def test_the_data_before_the_damage_is_kept(
    data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = single(data_dir).read_bytes()
    damage(single(data_dir), key=40)
    damaged = single(data_dir).read_bytes()
    assert main(["redis", "repair", "--data-dir", str(data_dir)]) == 0
    assert "what came later is lost" in capsys.readouterr().out
    [copy] = redis_folder(data_dir).glob("*.damaged-*")
    assert copy.read_bytes() == damaged
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert before.startswith(single(data_dir).read_bytes())
    with running_redis(data_dir) as url, Redis.from_url(url) as redis:
        assert redis.dbsize() == 40


def test_the_files_of_the_redis_that_is_here_are_sound(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One or several, whichever this Redis keeps."""
    with running_redis(tmp_path) as url, Redis.from_url(url) as redis:
        redis.set("key", "value")
    before = {file: file.read_bytes() for file in redis_folder(tmp_path).rglob("*.aof")}
    assert main(["redis", "repair", "--data-dir", str(tmp_path)]) == 0
    assert capsys.readouterr().out.startswith("sound: ")
    assert {file: file.read_bytes() for file in redis_folder(tmp_path).rglob("*.aof")} == before


def test_a_sound_file_is_left_alone(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = single(data_dir).read_bytes()
    assert main(["redis", "repair", "--data-dir", str(data_dir)]) == 0
    assert capsys.readouterr().out == f"sound: {single(data_dir)}\n"
    assert single(data_dir).read_bytes() == before
    assert not list(redis_folder(data_dir).glob("*.damaged-*"))


@pytest.mark.parametrize(("part", "key", "left"), [(1, 50, 2), (2, 80, 3)])
def test_of_several_files_those_behind_the_damage_are_left_out(
    data_dir: Path, part: int, key: int, left: int
) -> None:
    parts = several(data_dir)
    sizes = [file.stat().st_size for file in parts]
    damage(parts[part], key)
    assert main(["redis", "repair", "--data-dir", str(data_dir)]) == 0
    manifest = parts[0].with_name("appendonly.aof.manifest")
    assert [line.split()[1] for line in manifest.read_text().splitlines()] == [
        file.name for file in parts[:left]
    ]
    assert parts[part].stat().st_size < sizes[part]
    assert b"key:%d\r" % (key - 1) in parts[part].read_bytes()
    assert b"key:%d\r" % key not in parts[part].read_bytes()
    assert {file.name for file in parts[0].parent.iterdir()} == {
        manifest.name,
        *(file.name for file in parts[:left]),
    }
    assert len(list(redis_folder(data_dir).glob("*.damaged-*"))) == 1 + len(parts) - left


@pytest.mark.parametrize("content", [b"REDIS0009 damaged", None])
def test_where_nothing_can_be_kept_nothing_is_changed(
    data_dir: Path, content: bytes | None, capsys: pytest.CaptureFixture[str]
) -> None:
    file = single(data_dir)
    if content is None:
        file.unlink()
    else:
        file.write_bytes(content)
    with pytest.raises(SystemExit) as stopped:
        main(["redis", "repair", "--data-dir", str(data_dir)])
    assert stopped.value.code == EXIT_CONFIG
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("redis: ")
    if content is not None:
        assert "restore a backup" in line
        assert file.read_bytes() == content
    assert not list(redis_folder(data_dir).glob("*.damaged-*"))


def test_a_damaged_snapshot_is_left_as_it_is(
    data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The base of several files is one when Redis 7 has written it; no part of it can be kept."""
    [first, *_] = several(data_dir)
    base = first.rename(first.with_suffix(".rdb"))
    base.write_bytes(b"REDIS0011\xfa damaged")
    manifest = base.with_name("appendonly.aof.manifest")
    manifest.write_text(manifest.read_text().replace(first.name, base.name))
    before = {file: file.read_bytes() for file in base.parent.iterdir()}
    with pytest.raises(SystemExit) as stopped:
        main(["redis", "repair", "--data-dir", str(data_dir)])
    assert stopped.value.code == EXIT_CONFIG
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"redis: {base} is damaged where nothing before it could be kept; ")
    assert {file: file.read_bytes() for file in base.parent.iterdir()} == before
    assert not list(redis_folder(data_dir).glob("*.damaged-*"))


def test_a_server_that_works_in_the_folder_is_not_disturbed(
    data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with locked(data_dir, "up"), pytest.raises(SystemExit):
        main(["redis", "repair", "--data-dir", str(data_dir)])
    assert capsys.readouterr().err.startswith(f"redis: {data_dir} is in use by another server")


def test_the_command_that_is_named_can_be_typed(data_dir: Path) -> None:
    folder = data_dir.rename(data_dir.with_name("a folder"))
    damage(single(folder), key=7)
    done = subprocess.run(
        shlex.split(repair_command(folder)),
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("repaired: ")
