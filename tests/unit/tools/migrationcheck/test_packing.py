"""Pictures as files beside a recording."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from tools.migrationcheck.calls import CONTROL_PICTURE
from tools.migrationcheck.packing import pack, picture_in, unpack, without_signatures

pytestmark = pytest.mark.tools

PICTURE = CONTROL_PICTURE.read_bytes()
TEXT = base64.b64encode(PICTURE).decode()


def test_a_picture_is_one_file_wherever_it_is(tmp_path: Path) -> None:
    value = {"image": TEXT, "controls": [{"image": TEXT}], "seed": 3}
    packed = pack(tmp_path, value)
    (file,) = tmp_path.iterdir()
    assert packed["image"] == packed["controls"][0]["image"] == {"file": file.name}
    assert unpack(tmp_path, packed) == value


@pytest.mark.parametrize("name", ["../a.png", "/etc/hostname", "a/b.png"])
def test_only_files_of_the_folder_are_read(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="not beside the recording"):
        unpack(tmp_path, {"image": {"file": name}})


def test_links_lose_their_query() -> None:
    value = {"output": ["https://a/b?sig=c#d"], "prompt": "why?", "steps": 15}
    assert without_signatures(value) == {"output": ["https://a/b"], "prompt": "why?", "steps": 15}


def test_base64_of_other_things_is_no_picture() -> None:
    assert picture_in(base64.b64encode(b"words " * 40).decode()) is None
    assert picture_in(7) is None
    assert picture_in(TEXT) == PICTURE
