"""Private files: only the user of the server can read its folders."""

from __future__ import annotations

import logging
import os
import socket
import stat
from pathlib import Path

import pytest
from redis import Redis

from app.core.history.factory import open_history
from app.core.storage.factory import open_blobs
from app.core.system.private_files import close_tree_to_others, private_folder
from app.standalone.embedded_redis import redis_url

FOREIGN_UID = 54_321


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def open_to_all(path: Path) -> Path:
    path.chmod(0o777 if path.is_dir() else 0o644)
    return path


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A folder as a mask of 022 and worse leaves it, with all that a folder may hold."""
    root = tmp_path / "data"
    (root / "redis" / "deep").mkdir(parents=True)
    (root / "redis" / "deep" / "file").write_text("x")
    (root / "read-only").write_text("x")
    os.mkfifo(root / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(root / "socket"))
    for path in (root, *root.rglob("*")):
        open_to_all(path)
    (root / "read-only").chmod(0o444)
    return root


def test_a_tree_is_closed_at_every_depth(tree: Path) -> None:
    close_tree_to_others(tree)
    assert all(mode(path) & 0o077 == 0 for path in (tree, *tree.rglob("*")))
    assert mode(tree / "redis" / "deep") == 0o700
    assert mode(tree / "redis" / "deep" / "file") == 0o600
    assert mode(tree / "read-only") == 0o400


def test_the_target_of_a_link_keeps_its_mode(tree: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    inner = outside / "inner"
    inner.write_text("x")
    for path in (outside, inner):
        open_to_all(path)
    (tree / "to-folder").symlink_to(outside)
    (tree / "to-file").symlink_to(inner)
    (tree / "to-nothing").symlink_to(tmp_path / "nothing")
    close_tree_to_others(tree)
    assert (mode(outside), mode(inner)) == (0o777, 0o644)


def test_files_of_other_users_are_reported_in_one_line(
    tree: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise PermissionError

    monkeypatch.setattr("os.chmod", refused)  # a root may change them all
    with caplog.at_level(logging.WARNING):
        close_tree_to_others(tree)
    [line] = caplog.messages
    assert line.startswith(f"7 files of {tree} keep their modes")


def test_a_folder_that_somebody_else_made_first_is_not_used(tmp_path: Path) -> None:
    own = private_folder(tmp_path / "own")
    open_to_all(own)
    assert mode(private_folder(own)) == 0o700
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    link = tmp_path / "link"
    link.symlink_to(own)
    with pytest.raises(PermissionError, match="not a folder of this user"):
        private_folder(link)
    if os.geteuid() == 0:
        os.chown(foreign, FOREIGN_UID, FOREIGN_UID)
        with pytest.raises(PermissionError, match="not a folder of this user"):
            private_folder(foreign)


def test_so_is_the_socket_of_a_long_data_dir(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    data_dir = tmp_path / ("d" * 100)
    folder = Path(redis_url(data_dir).removeprefix("unix://")).parent
    assert folder.parent == tmp_path
    assert mode(open_to_all(folder)) == 0o777
    redis_url(data_dir)
    assert mode(folder) == 0o700
    folder.rmdir()
    folder.symlink_to(tmp_path)
    with pytest.raises(SystemExit):
        redis_url(data_dir)
    assert "not a folder of this user; remove it" in capsys.readouterr().err


def test_pictures_in_a_folder_are_private_whatever_the_mask(tmp_path: Path, redis: Redis) -> None:
    root = tmp_path / "blobs"
    root.mkdir()
    open_to_all(root)
    (tmp_path / "link").symlink_to(root)  # a BLOB_URL that names the link means the folder
    blobs = open_blobs(f"file://{tmp_path}/link", redis)
    before = os.umask(0)
    try:
        blobs.put("picture", b"x", 2e9)
    finally:
        os.umask(before)
    assert {mode(path) for path in (root, root / "pi")} == {0o700}
    assert mode(root / "pi" / "picture") == 0o600


def test_so_is_the_history_in_a_file(tmp_path: Path, redis: Redis) -> None:
    file = tmp_path / "history.sqlite"
    file.touch()
    open_to_all(file)
    open_history(f"sqlite:///{file}", redis, 30)
    assert mode(file) == 0o600
