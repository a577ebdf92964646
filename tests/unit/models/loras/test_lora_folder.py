"""The folder: names, changes on disk, links."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from models.errors import UnknownLora
from models.loras.lora_folder import LoraFolder
from tests.support.lora_files import write_lora


def test_files_are_sorted_and_others_ignored(tmp_path: Path) -> None:
    for name in ("b", "a 1.0"):
        write_lora(tmp_path / f"{name}.safetensors")
    write_lora(tmp_path / "müller.safetensors")
    write_lora(tmp_path / ".safetensors")
    write_lora(tmp_path / "pickle.pt")
    (tmp_path / "c.safetensors").mkdir()
    (tmp_path / "sub").mkdir()
    write_lora(tmp_path / "sub" / "d.safetensors")
    folder = LoraFolder(tmp_path)
    assert [file.name for file in folder.files()] == ["a 1.0", "b"]
    assert folder.names() == ["a 1.0", "b"]
    assert folder.ignored() == [".safetensors", "müller.safetensors"]


def test_links_count_only_within_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "loras"
    folder.mkdir()
    outside = write_lora(tmp_path / "outside.safetensors")
    (folder / "out.safetensors").symlink_to(outside)
    (folder / "broken.safetensors").symlink_to(tmp_path / "absent")
    (folder / "data").mkdir()
    inside = write_lora(folder / "data" / "a.safetensors")
    (folder / "in.safetensors").symlink_to(inside)
    assert LoraFolder(folder).names() == ["in"]
    assert LoraFolder(folder).ignored() == ["out.safetensors"]
    (tmp_path / "linked").symlink_to(folder)
    assert LoraFolder(tmp_path / "linked").find("in").error is None


def test_a_file_is_found_with_and_without_its_suffix(tmp_path: Path) -> None:
    write_lora(tmp_path / "ink.safetensors")
    folder = LoraFolder(tmp_path)
    assert folder.find("ink") == folder.find("ink.safetensors")


@pytest.mark.parametrize("name", ["../ink", "sub/ink", "..", "", "/etc/passwd", "ink\n", "Ink"])
def test_other_names_are_unknown(tmp_path: Path, name: str) -> None:
    write_lora(tmp_path / "ink.safetensors")
    (tmp_path / "sub").mkdir()
    write_lora(tmp_path / "sub" / "ink.safetensors")
    with pytest.raises(UnknownLora):
        LoraFolder(tmp_path).find(name)


def test_an_unknown_name_lists_the_nearest(tmp_path: Path) -> None:
    for name in ("watercolour", "water", "ink", "oil"):
        write_lora(tmp_path / f"{name}.safetensors")
    with pytest.raises(UnknownLora, match="no LoRA of the name 'watercolor'; the nearest") as error:
        LoraFolder(tmp_path).find("watercolor")
    assert error.value.nearest[:2] == ["watercolour", "water"]


def test_an_absent_folder_has_no_names(tmp_path: Path) -> None:
    folder = LoraFolder(tmp_path / "absent")
    with pytest.raises(UnknownLora, match="^there is no LoRA of the name 'ink'$"):
        folder.find("ink")
    with pytest.raises(FileNotFoundError):
        folder.files()


def test_a_file_is_read_once_until_it_changes(tmp_path: Path) -> None:
    path = write_lora(tmp_path / "ink.safetensors")
    folder = LoraFolder(tmp_path)
    first = folder.find("ink")
    assert folder.find("ink") is first
    assert folder.files()[0] is first
    replacement = write_lora(tmp_path / "new", seed=1)
    status = path.stat()
    os.utime(replacement, ns=(status.st_atime_ns, status.st_mtime_ns))
    replacement.replace(path)  # of the same size and time
    assert folder.find("ink").sha256 != first.sha256


def test_a_file_that_cannot_be_opened_is_listed_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_lora(tmp_path / "ink.safetensors")
    folder = LoraFolder(tmp_path)

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "open", refuse)
    assert folder.find("ink").error == "cannot be read: Permission denied"
