"""The data of a request: what is stored is what the version before stores and reads."""

from __future__ import annotations

import json
from typing import Any

import pytest

from app.api.wire.requests import FluxControlNetBody
from app.core.requests.types import (
    ADDED_PARAMETERS,
    GenerationParameters,
    Output,
    Provenance,
    SavedWork,
    Source,
    SourceKind,
    StoredPicture,
    WebhookTarget,
    outputs_from_json,
)
from models.spec import Lora

PARAMS = (
    '{"prompt": "\\u00e9", "sampler": "deis", "scheduler": "beta", "seed": 9, "base64": true, '
    '"cn_stop": 0.25, "cn_strength": 1.5, "cn_type": "canny", "custom_height": 64, '
    '"custom_width": 128, "guidance": 4.0, "image_format": "png", "quality": 10, "samples": 4, '
    '"steps": 15, "use_input_img_dimension": false, "profile": "turbo", "preview": true}'
)
ADDED: dict[str, Any] = {"cn_start": 0.25, "canny_low": 0, "canny_high": 255}
OUTPUT = (
    '{"file_name": "0.png", "content_type": "image/png", "file_size": 5, "width": 1, "height": 2, '
    '"sha256": "a", "pixels_sha256": "b", "seed": 7}'
)
PROVENANCE = (
    '{"checkpoint": "demo", "weights": {"transformer": "a"}, "device": "cpu", "dtype": "float32", '
    '"mu": 1.15, "sigmas_sha256": "b", "versions": {"torch": "2.0"}}'
)


@pytest.mark.parametrize("text", [PARAMS, PARAMS[:-1] + ', "only_map": true}'])
def test_parameters_are_stored_as_by_the_version_before(text: str) -> None:
    assert GenerationParameters.from_json(text).to_json() == text


@pytest.mark.parametrize("name", ADDED)
def test_a_parameter_that_older_versions_ignore_keeps_them_from_the_picture(
    name: str,
) -> None:
    params = GenerationParameters.from_json(PARAMS[:-1] + f', "{name}": {ADDED[name]}}}')
    assert params.cn_type == "canny"
    assert params.added() == {name: ADDED[name]}
    assert json.loads(params.to_json()) == {**params.to_dict(), "cn_type": "newer:canny"}
    assert GenerationParameters.from_json(params.to_json()) == params
    assert params.to_body()["cn_type"] == "canny"


def test_an_added_parameter_at_its_default_is_not_stored() -> None:
    values = {**json.loads(PARAMS), **ADDED_PARAMETERS}
    assert GenerationParameters.from_json(json.dumps(values)).to_json() == PARAMS


def test_parameters_keep_those_of_another_version() -> None:
    text = PARAMS[:-1] + ', "later": [1], "unknown_fields": 2}'
    params = GenerationParameters.from_json(text)
    assert params.unknown_fields == {"later": [1], "unknown_fields": 2}
    assert params.to_json() == text
    assert params.to_body() == json.loads(text)


def test_parameters_that_are_missing_have_the_defaults_of_the_body() -> None:
    body = FluxControlNetBody(image="x", prompt="y")
    assert GenerationParameters.from_json('{"prompt": "y", "seed": -1}') == body.parameters(
        seed=-1, only_map=False
    )


def test_parameters_have_every_field_of_the_body() -> None:
    stored = set(GenerationParameters(only_map=True, **ADDED).to_dict())
    pictures_and_webhook = {"image", "control_image", "webhook_url", "controls", "loras"}
    assert stored == set(FluxControlNetBody.model_fields) - pictures_and_webhook | {"only_map"}


LORAS = (
    '[{"name": "ink", "scale": 0.5, "sha256": "ab"}, {"name": "oil", "scale": 1.0, "sha256": ""}]'
)


def test_loras_are_stored_with_the_sums_of_their_files() -> None:
    params = GenerationParameters.from_json(f'{PARAMS[:-1]}, "loras": {LORAS}}}')
    assert params.loras == (Lora("ink", 0.5, "ab"), Lora("oil", 1.0, ""))
    assert params.added() == {"loras": json.loads(LORAS)}
    stored = json.loads(params.to_json())
    assert stored == {**json.loads(PARAMS), "cn_type": "newer:canny", "loras": json.loads(LORAS)}
    assert GenerationParameters.from_json(params.to_json()) == params
    later = LORAS.replace('"sha256"', '"later": 1, "sha256"')
    assert GenerationParameters.from_json(f'{PARAMS[:-1]}, "loras": {later}}}') == params


def test_a_body_has_no_sums_of_files() -> None:
    params = GenerationParameters.from_json(f'{PARAMS[:-1]}, "loras": {LORAS}}}')
    body = params.to_body()
    assert body["loras"] == [{"name": "ink", "scale": 0.5}, {"name": "oil", "scale": 1.0}]
    assert body["cn_type"] == "canny"


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ('{"field": "image", "kind": "file"}', Source("image", SourceKind.FILE)),
        (
            '{"field": "control_image", "kind": "url", "url": "https://a.example/"}',
            Source("control_image", SourceKind.URL, "https://a.example/"),
        ),
    ],
)
def test_a_source_is_stored_as_by_the_version_before(text: str, source: Source) -> None:
    assert Source.from_json(text) == source
    assert source.to_json() == text


def test_a_source_without_fields_is_an_image_of_unknown_kind() -> None:
    assert Source.from_json('{"later": 1}') == Source("image", "unknown", None)


def test_an_output_is_stored_as_by_the_version_before() -> None:
    [output] = outputs_from_json(f"[{OUTPUT}]")
    picture = StoredPicture("0.png", "image/png", 5, 1, 2, "a", "b")
    assert output == picture.with_seed(7)
    assert json.dumps(output.to_dict()) == OUTPUT


def test_an_output_keeps_the_fields_of_another_version() -> None:
    values = {**json.loads(OUTPUT), "later": 1}
    assert Output.from_dict(values).to_dict() == values


def test_a_control_map_is_stored_as_by_the_version_before() -> None:
    text = OUTPUT.replace(', "seed": 7', "")
    control_map = StoredPicture.from_json(text)
    assert control_map == StoredPicture("0.png", "image/png", 5, 1, 2, "a", "b")
    assert json.dumps(control_map.to_dict()) == text


def test_a_provenance_is_stored_as_by_the_version_before() -> None:
    text = PROVENANCE[:-1] + ', "later": 1}'
    provenance = Provenance.from_json(text)
    assert provenance.versions == {"torch": "2.0"}
    assert json.dumps(provenance.to_dict()) == text


def test_saved_work_is_stored_as_by_the_version_before() -> None:
    text = '{"source": "a", "made": [[12, 2]], "chunks": [["x", 1], ["y", 2]], "seconds": 1.5}'
    saved_work = SavedWork("a", ((12, 2),), (("x", 1), ("y", 2)), 1.5)
    assert SavedWork.from_json(text) == saved_work
    assert saved_work.to_json() == text
    assert SavedWork.from_json("{}") == SavedWork()


def test_a_webhook_target_is_stored_as_by_the_version_before() -> None:
    text = '{"url": "https://a.example/", "origin": "https://b.example"}'
    target = WebhookTarget("https://a.example/", "https://b.example")
    assert WebhookTarget.from_json(text) == target
    assert target.to_json() == text
