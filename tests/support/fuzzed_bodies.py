"""Request bodies as JSON texts: parameters that are right, wrong, missing or absurd."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

from app.api.wire.controls import ControlBody
from app.api.wire.loras import LoraBody
from app.api.wire.requests import FluxControlNetBody
from models.spec import CONTROL_NAMES
from tests.support.bodies import PAGE_VALUES

_VALID: dict[str, Any] = {"image": "http://example.com/a.png", "prompt": "x", **PAGE_VALUES}
_NAMES = tuple(FluxControlNetBody.model_fields)

_scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from((10**20, -(10**20), 10**400, 2**63, -1, 0)),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from(("", " ", "nan", "1e999", "0x10", "\ud800", "\0", "x" * 200_000, "９")),  # noqa: RUF001
)
_values = st.recursive(
    _scalars,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=10,
)
_elements = st.dictionaries(
    st.sampled_from((*ControlBody.model_fields, "other")),
    _values | st.sampled_from((*CONTROL_NAMES, "aGVsbG8=", 0.5)),
    max_size=6,
)
_loras = st.dictionaries(
    st.sampled_from((*LoraBody.model_fields, "other")),
    _values | st.sampled_from(("ink", "ink.safetensors", 0.5)),
    max_size=3,
)
_lists = {
    name: st.lists(elements | _values, max_size=5) | _values
    for name, elements in (("controls", _elements), ("loras", _loras))
}
# As deep as the reader of JSON goes, and a little deeper.
_nested = st.integers(1, 1100).map(lambda depth: "[" * depth + "]" * depth)


@st.composite
def _tampered(draw: st.DrawFn) -> str:
    fields = dict(_VALID)
    for name in draw(st.lists(st.sampled_from(_NAMES), max_size=4)):
        if draw(st.integers(0, 4)) == 0:
            fields.pop(name, None)
        else:
            fields[name] = draw(_lists.get(name, _values))
    fields |= draw(st.dictionaries(st.text(max_size=8), _values, max_size=2))
    text = json.dumps(fields)
    if draw(st.booleans()):
        deep = json.dumps(draw(st.sampled_from(_NAMES))) + ":" + draw(_nested)
        text = text[:-1] + "," + deep + "}"
    return text


bodies = _tampered() | st.dictionaries(st.sampled_from(_NAMES), _values).map(json.dumps)
