"""LoRAs by name over HTTP: the list, what is refused, and what a request keeps of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.core.redis.connection import connect
from app.core.requests.store import RequestStore
from models.spec import Lora
from tests.support.bodies import small
from tests.support.lora_files import kohya_layer, sha256_of, write_lora
from tests.support.pictures import astronaut, base64_of, encoded
from tests.support.servers import Server, running_api
from tests.support.wire import V1, V2

MODELS = "/inference-model-information/list"
EDITS = "/v1/images/edits"
ABOUT = {"modelspec.architecture": "flux-1-dev/lora", "modelspec.trigger_phrase": "in ink"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("loras")
    write_lora(folder / "ink.safetensors", metadata=ABOUT)
    write_lora(folder / "watercolour.safetensors", kohya_layer(), seed=1)
    (folder / "broken.safetensors").write_bytes(b"<html>")
    return folder


@pytest.fixture(scope="module")
def api(server: Server, folder: Path) -> Iterator[httpx.Client]:
    """Another api process on the same Redis, with a folder of LoRAs that no worker has."""
    settings = {"LORAS_DIR": str(folder)}
    with (
        running_api(server.redis_url, **settings) as url,
        httpx.Client(base_url=url, headers=server.headers, timeout=120) as client,
    ):
        yield client


def body(*loras: Any, **changes: Any) -> dict[str, Any]:
    return small(image=base64_of(astronaut((64, 64))), loras=list(loras), **changes)


def test_the_list_says_what_the_files_hold(api: httpx.Client, folder: Path) -> None:
    broken, ink, watercolour = api.get(MODELS).json()["loras"]
    assert ink == {
        "name": "ink",
        "trigger_words": ["in ink"],
        "base_model": "flux-1-dev/lora",
        "format": "diffusers",
        "rank": 4,
        "bytes": (folder / "ink.safetensors").stat().st_size,
        "sha256": sha256_of(folder / "ink.safetensors"),
        "error": None,
    }
    assert (watercolour["format"], watercolour["trigger_words"]) == ("kohya", [])
    assert broken["error"] == "is cut within its header, or is no safetensors file"


@pytest.mark.parametrize("path", [V1, V2, EDITS])
def test_an_unknown_name_is_400_with_the_nearest(api: httpx.Client, path: str) -> None:
    answer = api.post(path, json=body({"name": "ink"}, {"name": "watercolor"}))
    assert answer.status_code == 400
    error = answer.json()["error"]
    sentence = error["message"] if path == EDITS else error
    assert sentence.startswith(
        'loras[1].name: "watercolor" is not allowed; the nearest names are watercolour, '
    )
    if path == EDITS:
        assert error["param"] == "loras[1].name"


def test_the_list_has_its_limits(api: httpx.Client) -> None:
    ink = {"name": "ink"}
    for loras, sentence in (
        ([ink] * 5, "loras: a list of 5 is not allowed; a list of at most 4 objects is needed"),
        ([ink, ink], "loras[1].name: is that of loras[0]; each LoRA is allowed once"),
        (
            [{**ink, "scale": 2.5}],
            "loras[0].scale: 2.5 is not allowed; allowed is a number from -2.0 to 2.0",
        ),
    ):
        answer = api.post(V2, json=body(*loras))
        assert (answer.status_code, answer.json()) == (400, {"error": sentence})


def test_a_request_keeps_names_scales_and_sums(
    api: httpx.Client, server: Server, folder: Path
) -> None:
    """From JSON, and from a form, where `loras` is JSON text."""
    loras = [{"name": "watercolour", "scale": 0.5}, {"name": "ink.safetensors"}]
    kept = tuple(
        Lora(name, scale, sha256_of(folder / f"{name}.safetensors"))
        for name, scale in (("watercolour", 0.5), ("ink", 1.0))
    )
    form = {"prompt": "x", "cn_type": "canny", "loras": json.dumps(loras)}
    files = {"image": ("a.png", encoded(astronaut((64, 64))), "image/png")}
    for options in ({"json": body(*loras)}, {"data": form, "files": files}):
        answer = api.post(V2, **options)
        assert answer.status_code == 200, answer.text
        request_id = answer.json()["request_id"]
        with connect(server.redis_url) as redis:
            record = RequestStore(redis, 3600).get(request_id)
        assert record is not None
        assert record.params.loras == kept
        row = api.get(f"/inference-request/request-history/{request_id}").json()
        assert json.loads(row["request_body"])["loras"] == [
            {"name": "watercolour", "scale": 0.5},
            {"name": "ink", "scale": 1.0},
        ]
        api.delete(f"/v2/requests/{request_id}")


def test_an_idempotency_key_covers_the_loras(api: httpx.Client) -> None:
    headers = {"idempotency-key": "loras"}
    first = api.post(V2, json=body({"name": "ink"}), headers=headers)
    again = api.post(V2, json=body({"name": "ink", "scale": 1}), headers=headers)
    assert first.json()["request_id"] == again.json()["request_id"]
    for other in (body({"name": "ink", "scale": 0.9}), body({"name": "watercolour"}), body()):
        assert api.post(V2, json=other, headers=headers).status_code == 409
    api.delete(f"/v2/requests/{first.json()['request_id']}")


def test_no_list_and_an_empty_one_are_the_same_request(api: httpx.Client) -> None:
    pictures = []
    for loras in (None, []):
        sent = {**body(seed=5, image_format="png"), "loras": loras}
        answer = api.post(V1, json=sent)
        assert answer.status_code == 200, answer.text
        pictures.append(answer.content)
    assert pictures[0] == pictures[1]
