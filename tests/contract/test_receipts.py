"""Provenance of a picture: metadata in its file, the signed receipt, and the replay."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from schemathesis.schemas import BaseSchema

from app import cli
from app.commands.receipt_files import read_statement
from models.spec import SEED_MAX
from tests.support.bodies import small
from tests.support.pictures import astronaut, base64_of, encoded, opened
from tests.support.servers import Server
from tests.support.wire import V1, finished, picture, wait_for_end

FORMATS = ("png", "jpeg", "webp")


@pytest.fixture(autouse=True)
def _as_the_operator(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", server.redis_url)


def verify(file: Path) -> int:
    return cli.main(["receipt", "verify", str(file)])


def replay(server: Server, file: Path, *options: str) -> int:
    address = ("--url", server.url, "--key", server.key)
    return cli.main(["receipt", "replay", str(file), *address, *options])


def receipt_of(http: httpx.Client, result: dict[str, Any]) -> dict[str, Any]:
    answer = http.get(f"/v2/requests/{result['request_id']}/receipt")
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


@pytest.mark.parametrize("image_format", FORMATS)
def test_a_picture_says_what_made_it(
    http: httpx.Client, server: Server, tmp_path: Path, image_format: str
) -> None:
    """Readable in the file, genuine, and made again: the same file, bit for bit."""
    body = small(seed=3, image_format=image_format, prompt='a "lighthouse", évening')
    file = tmp_path / f"picture.{image_format}"
    file.write_bytes(picture(http, body))
    said = read_statement(file).content
    asked = {name: said["parameters"][name] for name in ("prompt", "seed", "steps", "cn_type")}
    assert asked == {**{name: body[name] for name in asked}}
    assert (said["width"], said["height"], said["checkpoint"]) == (128, 128, "demo")
    assert verify(file) == 0
    if image_format == "png":  # for image tools, beside what is signed
        text = opened(file.read_bytes()).info["parameters"]
        assert text.startswith('a "lighthouse", évening\nSteps: ')
        assert "Seed: 3, Size: 128x128, Model: demo" in text
    control = tmp_path / "control.png"
    control.write_bytes(encoded(astronaut((128, 128))))
    assert replay(server, file, "--image", str(control)) == 0


def test_a_picture_of_several_carries_its_own_seed(http: httpx.Client, tmp_path: Path) -> None:
    """It is the very file that a request of its own makes."""
    result = finished(http, small(seed=SEED_MAX, samples=2))
    second = http.get(result["images"][1]["url"]).content
    (tmp_path / "1.jpeg").write_bytes(second)
    assert read_statement(tmp_path / "1.jpeg").content["parameters"]["seed"] == 0
    assert second == picture(http, small(seed=0))


@pytest.mark.parametrize("image_format", FORMATS)
def test_a_changed_picture_is_not_genuine(
    http: httpx.Client, tmp_path: Path, image_format: str, capsys: pytest.CaptureFixture[str]
) -> None:
    data = picture(http, small(seed=3, image_format=image_format))
    file = tmp_path / "forged"
    said = data.replace(b"an astronaut", b"a cosmonauts")
    assert said != data
    file.write_bytes(said)
    if image_format == "png":  # its text has a checksum; nothing behind is read
        with pytest.raises(SystemExit, match="neither a receipt nor a picture"):
            verify(file)
    else:
        assert verify(file) == 1
        assert "signature" in capsys.readouterr().out
    other = opened(picture(http, small(seed=4, image_format=image_format)))
    made = opened(data)
    options = {"exif": made.info["exif"]} if image_format != "png" else {"pnginfo": _texts(made)}
    other.save(file, made.format, **options)
    assert verify(file) == 1
    assert "pixels" in capsys.readouterr().out


def _texts(made: Any) -> Any:
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    for name, text in made.text.items():
        info.add_text(name, text)
    return info


def test_a_prompt_too_long_for_a_file_is_named_by_its_digest(
    http: httpx.Client, tmp_path: Path
) -> None:
    prompt = "é" * 20_000
    file = tmp_path / "picture.jpeg"
    file.write_bytes(picture(http, small(prompt=prompt)))
    parameters = read_statement(file).content["parameters"]
    assert "prompt" not in parameters
    assert parameters["prompt_sha256"] == hashlib.sha256(prompt.encode()).hexdigest()
    assert verify(file) == 0


def test_a_receipt_says_everything_and_verifies(http: httpx.Client, tmp_path: Path) -> None:
    result = finished(http, small(seed=11, samples=2, cn_type="depth"))
    answer = receipt_of(http, result)
    receipt = answer["receipt"]
    assert [made["seed"] for made in receipt["outputs"]] == ["11", "12"]
    for made, image in zip(receipt["outputs"], result["images"], strict=True):
        data = http.get(image["url"]).content
        assert made["sha256"] == hashlib.sha256(data).hexdigest()
        assert made["pixels_sha256"] == hashlib.sha256(opened(data).tobytes()).hexdigest()
    linked = http.get(receipt["control_map"]["url"]).content
    assert receipt["control_map"]["sha256"] == hashlib.sha256(linked).hexdigest()
    assert receipt["weights"].keys() == {"base", "controlnet", "annotators"}
    assert receipt["versions"]["torch"]
    assert receipt["device"]
    assert (receipt["checkpoint"], receipt["dtype"], receipt["mu"]) == ("demo", "float32", 1.15)
    assert len(receipt["sigmas_sha256"]) == 64
    file = tmp_path / "receipt.json"
    file.write_text(json.dumps(answer, indent=2))
    assert verify(file) == 0


def test_a_tampered_receipt_does_not_verify(http: httpx.Client, tmp_path: Path) -> None:
    answer = receipt_of(http, finished(http, small()))
    file = tmp_path / "receipt.json"
    for name, value in {"device": "another", "evaluations": 1, "new": True}.items():
        forged = {**answer, "receipt": {**answer["receipt"], name: value}}
        file.write_text(json.dumps(forged))
        assert verify(file) == 1
    file.write_text(json.dumps({**answer, "signature": {"value": "0" * 64}}))
    assert verify(file) == 1


def test_a_replay_makes_the_same_file_from_the_linked_map(
    http: httpx.Client,
    server: Server,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The picture measures no multiple of 16, so the map's rim matters."""
    image = base64_of(astronaut((100, 75)))
    size = {"use_input_img_dimension": False, "custom_width": 100, "custom_height": 75}
    result = finished(http, small(image=image, cn_type="pose", samples=2, seed=9, **size))
    file = tmp_path / "receipt.json"
    file.write_text(json.dumps(receipt_of(http, result)))
    assert replay(server, file) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines == [f"{index}.jpeg: the same file, bit for bit" for index in (0, 1)]


def test_a_picture_made_from_a_ready_map_is_replayed_from_it(
    http: httpx.Client, server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ready = tmp_path / "map.png"
    ready.write_bytes(http.post(f"{V1}/preprocess", json=small(cn_type="canny")).content)
    body = small(cn_type="canny", seed=5, cn_strength=1, image_format="png")
    del body["image"]
    file = tmp_path / "picture.png"
    file.write_bytes(
        picture(http, {**body, "control_image": base64.b64encode(ready.read_bytes()).decode()})
    )
    assert replay(server, file, "--map", str(ready)) == 0
    assert capsys.readouterr().out == "picture: the same file, bit for bit\n"
    assert replay(server, file, "--image", str(ready)) == 1


def test_a_replay_with_another_control_picture_is_reported(
    http: httpx.Client, server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, control = tmp_path / "receipt.json", tmp_path / "other.png"
    file.write_text(json.dumps(receipt_of(http, finished(http, small(seed=1, cn_strength=2)))))
    control.write_bytes(encoded(astronaut((128, 128)).rotate(90)))
    assert replay(server, file, "--image", str(control)) == 1
    assert capsys.readouterr().out == "0.jpeg: other pixels\n"
    control.write_bytes(b"no picture")
    with pytest.raises(SystemExit, match="422: image: this is plain text"):
        replay(server, file, "--image", str(control))


def test_only_a_finished_picture_has_a_receipt(http: httpx.Client, document: BaseSchema) -> None:
    operation = document["/v2/requests/{request_id}/receipt"]["GET"]
    alone = http.post(f"{V1}/preprocess", json={"image": small()["image"], "cn_type": "canny"})
    failed = http.post("/v2/flux-controlnet", json=small(image="no picture")).json()
    wait_for_end(http, failed["response_url"])
    finished_one = finished(http, small())["request_id"]
    for request_id, status in (
        (alone.headers["x-request-id"], 404),
        (failed["request_id"], 404),
        ("0" * 32, 404),
        (finished_one, 200),
    ):
        answer = http.get(f"/v2/requests/{request_id}/receipt")
        assert answer.status_code == status
        operation.validate_response(answer)
    assert (
        http.get(f"/v2/requests/{finished_one}/receipt", headers={"x-api-key": ""}).status_code
        == 401
    )


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"nothing", "neither a receipt nor a picture"),
        (b"{}", "the JSON is no receipt"),
        (b"{", "the receipt is not a JSON object"),
        (encoded(astronaut((8, 8))), "a picture that carries no receipt"),
        (None, "No such file"),
    ],
)
def test_a_file_without_a_receipt_is_refused_in_one_line(
    tmp_path: Path, content: bytes | None, sentence: str
) -> None:
    file = tmp_path / "file"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(SystemExit, match=sentence):
        verify(file)


def test_metadata_changes_no_pixel_and_no_base64(http: httpx.Client) -> None:
    made = http.post(V1, json=small(seed=3, base64=True)).json()["image"]
    assert base64.b64decode(made) == picture(http, small(seed=3))
