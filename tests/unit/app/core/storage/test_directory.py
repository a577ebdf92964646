"""Blobs in a folder: safe names, no partial files, and a lost mount."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from app.core.errors import BlobsUnavailable
from app.core.storage import directory as module
from app.core.storage.directory import DirectoryBlobs

BLOB = f"{'a' * 32}:output:0"


def soon() -> float:
    return time.time() + 60


def set_clock(monkeypatch: pytest.MonkeyPatch, moment: float) -> None:
    clock = SimpleNamespace(time=lambda: moment, monotonic=time.monotonic)
    monkeypatch.setattr(module, "time", clock)


@pytest.fixture
def directory(tmp_path: Path) -> DirectoryBlobs:
    return DirectoryBlobs(tmp_path / "blobs")


@pytest.mark.parametrize("name", ["../../etc/passwd", "a/b", ".hidden", "", "a\0b"])
def test_no_name_leaves_the_folder(directory: DirectoryBlobs, name: str) -> None:
    for use in (directory.get, directory.delete, lambda name: directory.put(name, b"", soon())):
        with pytest.raises(ValueError, match="name of a blob"):
            use(name)


def test_a_full_disk_is_an_error_of_the_infrastructure_and_leaves_nothing(
    directory: DirectoryBlobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    directory.put("a1", b"old", soon())
    with monkeypatch.context() as broken:
        broken.setattr(os, "fsync", full)
        with pytest.raises(BlobsUnavailable):
            directory.put("a1", b"new", soon())
    assert directory.get("a1") == b"old"
    assert [path.name for path in (tmp_path / "blobs").glob("*/*")] == ["a1"]


def test_a_folder_that_is_gone_has_lost_nothing(directory: DirectoryBlobs, tmp_path: Path) -> None:
    directory.put("a1", b"x", soon())
    (tmp_path / "blobs").rename(tmp_path / "unmounted")
    for use in (directory.get, lambda name: directory.put(name, b"", soon())):
        with pytest.raises(BlobsUnavailable):
            use("a1")


def test_a_sweep_takes_what_a_dead_writer_left(directory: DirectoryBlobs, tmp_path: Path) -> None:
    directory.put("a1", b"x", soon())
    left, fresh = (tmp_path / "blobs" / "a1" / f".{digit * 32}" for digit in "ab")
    for draft in (left, fresh):
        draft.touch()
    os.utime(left, (0, 0))
    assert directory.sweep() == 1
    assert fresh.exists()


def test_a_folder_that_cannot_be_made_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="BLOB_URL: .*: Not a directory"):
        DirectoryBlobs(tmp_path / "file" / "blobs")


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("a1:output:0", "a1/a1:output:0"),
        ("ab", "ab/ab"),
        ("a", "a_/a"),
        ("A" * 200, "AA/" + "A" * 200),
    ],
)
def test_a_blob_lies_in_the_folder_of_its_first_two_letters(
    directory: DirectoryBlobs, tmp_path: Path, name: str, place: str
) -> None:
    directory.put(name, b"x", soon())
    assert (tmp_path / "blobs" / place).read_bytes() == b"x"


@pytest.mark.parametrize("name", ["A" * 201, "ä", "-a", "a b", "a\n"])
def test_other_names_are_faults_of_ours(directory: DirectoryBlobs, name: str) -> None:
    with pytest.raises(ValueError, match="cannot be the name of a blob"):
        directory.put(name, b"x", soon())


def test_only_the_user_of_the_processes_may_read_it(
    directory: DirectoryBlobs, tmp_path: Path
) -> None:
    before = os.umask(0)
    try:
        directory.put("a1", b"x", soon())
    finally:
        os.umask(before)
    root = tmp_path / "blobs"
    modes = [path.stat().st_mode & 0o777 for path in (root, root / "a1", root / "a1" / "a1")]
    assert modes == [0o700, 0o700, 0o600]


@pytest.mark.parametrize(
    ("moment", "there"), [(999.0, True), (999.9, True), (1000.0, False), (1000.5, False)]
)
def test_a_file_expires_at_its_own_modification_time(
    directory: DirectoryBlobs,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    moment: float,
    there: bool,
) -> None:
    directory.put(BLOB, b"x", 1000.0)
    file = tmp_path / "blobs" / "aa" / BLOB
    assert file.stat().st_mtime == 1000.0
    set_clock(monkeypatch, moment)
    assert directory.get(BLOB) == (b"x" if there else None)
    assert directory.sweep() == (0 if there else 1)
    assert file.exists() is there


@pytest.mark.parametrize(("age_s", "removed"), [(3599, 0), (3600, 1)])
def test_a_half_written_file_is_left_for_an_hour(
    directory: DirectoryBlobs,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    age_s: float,
    removed: int,
) -> None:
    directory.put("a1", b"x", soon())
    draft = tmp_path / "blobs" / "a1" / f".{'0' * 32}"
    draft.touch()
    os.utime(draft, (1000, 1000))
    set_clock(monkeypatch, 1000 + age_s)
    assert directory.sweep() == removed


def test_a_sweep_continues_when_another_one_was_faster(
    directory: DirectoryBlobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        directory.put(f"{'a' * 32}:output:{number}", b"x", 1.0)
    find = Path.glob

    def found_and_gone(root: Path, pattern: str) -> Iterator[Path]:
        paths = sorted(find(root, pattern))
        paths[1].unlink()
        return iter(paths)

    monkeypatch.setattr(Path, "glob", found_and_gone)
    assert directory.sweep() == 2
    monkeypatch.undo()
    assert list((tmp_path / "blobs").glob("*/*")) == []


def test_an_error_of_the_blob_folder_is_logged(
    directory: DirectoryBlobs, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "blobs").rename(tmp_path / "unmounted")
    with pytest.raises(BlobsUnavailable):
        directory.get("a1")
    assert caplog.messages == [f"blobs in {tmp_path}/blobs: No such file or directory"]


def test_a_sweep_leaves_the_files_of_other_programs(
    directory: DirectoryBlobs, tmp_path: Path
) -> None:
    directory.put(BLOB, b"x", 1.0)
    root = tmp_path / "blobs"
    (root / "aa" / "photo.jpeg").touch()
    (root / "aa" / ".hidden").touch()
    (root / "aa" / f"{'b' * 32}:output:0").touch()  # a copy in the wrong folder
    (root / "aa" / f"{'a' * 32}:output:1").mkdir()
    (root / "aa" / f"{'a' * 32}:output:2").symlink_to(root / "aa" / "photo.jpeg")
    (root / "my").mkdir()
    (root / "my" / "notes.txt").touch()
    (root / "README").touch()
    before = set(root.rglob("*"))
    for path in before:
        os.utime(path, (0, 0), follow_symlinks=False)
    assert directory.sweep() == 1
    assert before - set(root.rglob("*")) == {root / "aa" / BLOB}


def test_a_long_sweep_goes_on_at_the_next_call(
    directory: DirectoryBlobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_SWEEP_S", 0.0)
    for digit in "0123":
        directory.put(f"{digit * 32}:output:0", b"x", 1.0)
    assert [directory.sweep() for _ in range(6)] == [1, 1, 1, 1, 0, 0]
    assert list((tmp_path / "blobs").glob("*/*")) == []
    directory.put(BLOB, b"x", 1.0)
    assert directory.sweep() == 1


def test_the_space_of_a_folder_is_that_of_its_disk(
    directory: DirectoryBlobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = SimpleNamespace(free=12_345)
    monkeypatch.setattr("shutil.disk_usage", lambda path: {tmp_path / "blobs": usage}[path])
    assert directory.free_bytes() == 12_345
    monkeypatch.undo()
    (tmp_path / "blobs").rename(tmp_path / "unmounted")
    with pytest.raises(BlobsUnavailable):
        directory.free_bytes()
