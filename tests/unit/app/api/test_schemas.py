"""What counts as left out of a body."""

from __future__ import annotations

from typing import Any

import pytest

from app.api.admin import KeyOrder, TopUp
from app.api.schemas import FluxControlNetBody, PreprocessBody, parse_body, without_null
from app.core.errors import InvalidRequest

BODY: dict[str, Any] = {"image": "aGVsbG8=", "prompt": "x"}


@pytest.mark.parametrize("kind", [FluxControlNetBody, PreprocessBody])
def test_null_counts_as_left_out(kind: Any) -> None:
    optional = {name for name, field in kind.model_fields.items() if not field.is_required()}
    assert parse_body(kind, {**dict.fromkeys(optional), **BODY}) == parse_body(kind, BODY)


@pytest.mark.parametrize("name", ["image", "prompt"])
def test_null_is_wrong_where_something_is_needed(name: str) -> None:
    with pytest.raises(InvalidRequest, match=f"^{name}: null is not allowed; a non-empty string"):
        parse_body(FluxControlNetBody, {**BODY, name: None})


def test_null_as_an_image_that_is_not_read() -> None:
    body = parse_body(FluxControlNetBody, {**BODY, "image": None, "control_image": "aGVsbG8="})
    assert body.control_image == "aGVsbG8="


def test_null_in_the_orders_of_an_admin() -> None:
    nothing = dict.fromkeys(KeyOrder.model_fields)
    assert without_null(KeyOrder, {**nothing, "name": "a"}) == {"name": "a"}
    assert without_null(TopUp, {"credits": None}) == {"credits": None}
