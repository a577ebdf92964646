"""What "Copy as" copies, run by a shell, by Python and by node against a real server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from app.core.images.metadata import embedded
from tests.support.node import evaluate, node
from tests.support.pictures import PictureHost, astronaut, encoded
from tests.support.servers import Server

PROMPT = (
    '@it\'s "two"; <rings>\non $HOME, `id` 100% !x \\n\\\t${x:?} \N{SNOWMAN}\N{GRINNING FACE}\\'
)
VALUES = {
    "prompt": PROMPT,
    "cn_type": "canny",
    "steps": 15,
    "seed": "9007199254740993",
    "samples": 2,
    "image_format": "png",
    "use_input_img_dimension": False,
    "custom_width": 64,
    "custom_height": 64,
    "cn_strength": 0.45,
    "webhook_url": "",
}
FILE = 'a photo, "the first"; it\'s $1\\.png'
LANGUAGES = ("curl", "python", "javascript")
SOURCES = ("file", "url", "sample", "map")
Runs = dict[tuple[str, str], tuple[Path, subprocess.Popen[str]]]
"""(language, source) -> its folder and its process."""
RUN = {"curl": ("sh", "s.sh"), "python": (sys.executable, "s.py"), "javascript": ("node", "s.mjs")}


def start(language: str, text: str, folder: Path, key: str | None) -> subprocess.Popen[str]:
    command, name = RUN[language]
    (folder / name).write_text(text)
    environment = {name: value for name, value in os.environ.items() if name != "API_KEY"}
    return subprocess.Popen(
        [node() if command == "node" else command, name],
        cwd=folder,
        env={**environment, **({} if key is None else {"API_KEY": key})},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def snippets(calls: list[tuple[str, dict[str, Any]]]) -> list[str]:
    texts: list[str] = evaluate("snippets.js", "data.map((call) => module.snippet(...call))", calls)
    return texts


@pytest.fixture(scope="module")
def runs(
    server: Server, host: PictureHost, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Runs]:
    """Every snippet of every kind of picture, all started at once: they mostly wait."""
    data = encoded(astronaut((64, 64)))
    url = host.serve("/it's a photo.png".replace(" ", "%20"), data)
    pictures: dict[str, dict[str, str]] = {
        "file": {"kind": "file", "name": FILE},
        "url": {"kind": "url", "url": url},
        "sample": {"kind": "file", "name": "sample.png", "href": url},
        "map": {"kind": "file", "name": FILE, "field": "control_image"},
    }
    shared = {"origin": f"{server.url}/", "values": VALUES, "defaults": {"cn_strength": 0.45}}
    cases = [(language, source) for language in LANGUAGES for source in SOURCES]
    texts = snippets(
        [(language, {**shared, "picture": pictures[source]}) for language, source in cases]
    )
    started = {}
    for (language, source), text in zip(cases, texts, strict=True):
        assert server.key not in text
        assert "cn_strength" not in text
        assert ("control_image" in text) == (source == "map")
        folder = tmp_path_factory.mktemp(f"{language}_{source}")
        (folder / FILE).write_bytes(data)
        started[language, source] = folder, start(language, text, folder, server.key)
    yield started
    for _, process in started.values():
        process.kill()
        process.communicate()


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("language", LANGUAGES)
def test_a_snippet_writes_the_pictures_of_exactly_these_values(
    runs: Runs, language: str, source: str
) -> None:
    folder, process = runs[language, source]
    printed, errors = process.communicate(timeout=120)
    assert (process.returncode, errors) == (0, "")
    assert printed.split() == ["picture-0.png", "picture-1.png"]
    for index, name in enumerate(printed.split()):
        parameters = parameters_of(folder / name)
        assert parameters["prompt"] == PROMPT
        assert parameters["seed"] == int(str(VALUES["seed"])) + index
        assert (parameters["cn_type"], parameters["custom_width"]) == ("canny", 64)


def parameters_of(path: Path) -> dict[str, Any]:
    with Image.open(path) as picture:
        text = embedded(picture)
    assert text is not None
    parameters: dict[str, Any] = json.loads(text)["parameters"]
    return parameters


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize(
    ("key", "sentence"), [(None, "API_KEY"), ("SG_wrong", "API key is invalid")]
)
def test_a_snippet_says_what_is_wrong_with_the_key(
    server: Server, tmp_path: Path, language: str, key: str | None, sentence: str
) -> None:
    picture = {"kind": "url", "url": "http://127.0.0.1/x.png"}
    shared = {"origin": server.url, "values": VALUES, "picture": picture}
    [text] = snippets([(language, shared)])
    process = start(language, text, tmp_path, key)
    _, errors = process.communicate(timeout=60)
    assert process.returncode != 0
    assert sentence in errors
