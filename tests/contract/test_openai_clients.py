"""OpenAI's official clients for Python and JavaScript get pictures from this server, and the form
that Open WebUI sends gets one."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from schemathesis.schemas import BaseSchema

from app.core.accounts.api_keys import KeyStore, Terms
from app.core.redis.connection import connect
from tests.support.node import node
from tests.support.pictures import astronaut, base64_of, encoded, opened
from tests.support.servers import ROOT, Server

SIZE = (128, 128)
PICTURE = encoded(astronaut(SIZE))
FILE = ("a.png", PICTURE, "image/png")
OWN: dict[str, Any] = {"cn_type": "canny", "steps": 15, "seed": 5}
JAVASCRIPT = Path(sys.prefix, "clients", "openai-js", "node_modules")


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key=server.key, max_retries=0) as made:
        yield made


def picture_of(image: Any) -> bytes:
    return base64.b64decode(image["b64_json"] if isinstance(image, dict) else image.b64_json)


def test_python_edits_a_picture(client: openai.OpenAI, http: httpx.Client) -> None:
    """With parameters of ours; its receipt is that of any request."""
    raw = client.images.with_raw_response.edit(image=FILE, prompt="an astronaut", extra_body=OWN)
    response = raw.parse()
    assert response.data is not None
    [image] = response.data
    made = opened(picture_of(image))
    assert (made.format, made.size) == ("PNG", SIZE)
    assert (response.size, response.output_format) == ("128x128", "png")
    assert response.created > 1_700_000_000
    assert response.usage is not None
    assert response.usage.total_tokens == 0
    receipt = http.get(f"/v2/requests/{raw.headers['x-request-id']}/receipt").json()["receipt"]
    assert receipt["parameters"].items() >= OWN.items()


def test_python_edits_with_openais_parameters(client: openai.OpenAI, http: httpx.Client) -> None:
    controls = [{"type": "canny", "strength": 0.8}]
    response = client.images.edit(
        image=[FILE],
        prompt="an astronaut",
        model="gpt-image-1",
        size="128x64",
        n=2,
        quality="low",
        output_format="webp",
        output_compression=80,
        response_format="url",
        background="opaque",
        input_fidelity="high",
        user="somebody",
        extra_body={"seed": 5, "controls": json.dumps(controls)},
        extra_headers={"Idempotency-Key": "python"},
    )
    assert response.data is not None
    pictures = [opened(http.get(str(image.url)).content) for image in response.data]
    assert [(made.format, made.size) for made in pictures] == [("WEBP", (128, 64))] * 2


def test_python_generates_along_a_picture(client: openai.OpenAI) -> None:
    extra = {"image": base64_of(astronaut(SIZE)), **OWN}
    response = client.images.generate(prompt="an astronaut", extra_body=extra)
    assert response.data is not None
    assert opened(picture_of(response.data[0])).size == SIZE
    with pytest.raises(openai.BadRequestError, match="control picture") as refused:
        client.images.generate(prompt="an astronaut")
    assert (refused.value.param, refused.value.type) == ("image", "invalid_request_error")


def test_python_lists_the_models(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["demo"]
    assert client.models.retrieve("demo").object == "model"
    with pytest.raises(openai.NotFoundError, match="does not exist"):
        client.models.retrieve("gpt-image-1")


def test_python_understands_errors(client: openai.OpenAI, server: Server) -> None:
    """None of these is repeated, though the client would repeat a call twice."""
    with connect(server.redis_url) as redis:
        poor, _ = KeyStore(redis).create("poor", Terms(credits=1e-6))
    repeating = client.with_options(max_retries=2)
    with pytest.raises(openai.BadRequestError, match="mask: a mask is not supported"):
        repeating.images.edit(image=FILE, mask=FILE, prompt="x")
    with pytest.raises(openai.BadRequestError, match="stream: true is not supported"):
        repeating.images.edit(image=FILE, prompt="x", stream=True)
    with pytest.raises(openai.BadRequestError, match="more than one picture"):
        repeating.images.edit(image=[FILE, FILE], prompt="x")
    with pytest.raises(openai.BadRequestError, match="image: this is plain text"):
        repeating.images.edit(image=("a.png", b"no picture"), prompt="x")
    with pytest.raises(openai.AuthenticationError) as unknown:
        repeating.with_options(api_key="SG_wrong").images.edit(image=FILE, prompt="x")
    assert unknown.value.code == "invalid_api_key"
    with pytest.raises(openai.APIStatusError, match="Insufficient credits") as refused:
        repeating.with_options(api_key=poor).images.edit(image=FILE, prompt="x", extra_body=OWN)
    assert (refused.value.status_code, refused.value.code) == (402, "insufficient_quota")


def test_javascript(server: Server, http: httpx.Client, tmp_path: Path) -> None:
    if not JAVASCRIPT.is_dir():
        pytest.skip("needs OpenAI's client for JavaScript, which scripts/setup installs with npm")
    picture = tmp_path / "a.png"
    picture.write_bytes(PICTURE)
    script = ROOT / "tests" / "support" / "openai_client.cjs"
    done = subprocess.run(
        [node(), script, f"{server.url}/v1", server.key, picture],
        env={"NODE_PATH": str(JAVASCRIPT)},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    given = json.loads(done.stdout)
    for name in ("edited", "generated"):
        [image] = given[name]["data"]
        assert opened(picture_of(image)).size == SIZE
    linked = [opened(http.get(image["url"]).content) for image in given["linked"]["data"]]
    assert [(made.format, made.size) for made in linked] == [("WEBP", (128, 64))] * 2
    assert given["models"] == ["demo"]
    assert given["refused"] == {"status": 400, "param": "image", "type": "invalid_request_error"}


@pytest.mark.parametrize("name", ["image", "image[]"])
def test_the_form_of_open_webui(server: Server, name: str) -> None:
    """As its `image_edits` builds it: every value is text, the file name is a UUID."""
    fields = {"model": "gpt-image-1", "prompt": "an astronaut", "n": "1", "size": "128x128"}
    fields |= {"response_format": "b64_json", "background": "auto"}
    file = ("0b5fc1e2-7b1e-4f0e-9a59-0c6a2f1f6d7c.png", PICTURE, "image/png")
    headers = {"Authorization": f"Bearer {server.key}"}
    url = f"{server.url}/v1/images/edits?api-version=2025-04-01"
    answer = httpx.post(url, data=fields, files={name: file}, headers=headers, timeout=120)
    assert answer.status_code == 200, answer.text
    made = opened(picture_of(answer.json()["data"][0]))
    assert (made.format, made.size) == ("PNG", SIZE)


def test_openai_answers_as_documented(http: httpx.Client, document: BaseSchema) -> None:
    body = {"prompt": "an astronaut", "image": base64_of(astronaut((64, 64))), **OWN}
    for path in ("/v1/images/edits", "/v1/images/generations"):
        for changes, status in (({}, 200), ({"n": 5}, 400), ({"image": "no picture"}, 400)):
            answer = http.post(path, json=body | changes)
            assert answer.status_code == status
            document[path]["POST"].validate_response(answer)
    document["/v1/models"]["GET"].validate_response(http.get("/v1/models"))
    for name, status in (("demo", 200), ("other", 404)):
        answer = http.get(f"/v1/models/{name}")
        assert answer.status_code == status
        document["/v1/models/{model}"]["GET"].validate_response(answer)
