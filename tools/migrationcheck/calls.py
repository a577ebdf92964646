"""The calls that `record` makes: built-in ones, or those of a file of the user."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tools.migrationcheck.exchanges import Auth, Call

CONTROL_PICTURE = Path(__file__).with_name("control.png")
"""128x128: shapes with clear edges."""

_V1 = "/v1/flux-controlnet"
_V2 = "/v2/flux-controlnet"
_UNKNOWN_ID = "0123456789abcdef0123456789abcdef"


def _body(**changes: Any) -> dict[str, Any]:
    """The parameters of the model's page, with few steps and a small control picture."""
    return {
        "image": base64.b64encode(CONTROL_PICTURE.read_bytes()).decode(),
        "prompt": "a lighthouse on a rock at dusk",
        "sampler": "euler",
        "scheduler": "simple",
        "seed": 652889,
        "base64": False,
        "cn_stop": 1.0,
        "cn_strength": 1.0,
        "cn_type": "canny",
        "guidance": 3.5,
        "image_format": "jpeg",
        "quality": 95,
        "samples": 1,
        "steps": 15,
        "use_input_img_dimension": True,
        **changes,
    }


def built_in(preprocess: bool) -> Iterator[Call]:
    """Five calls that are billed: three of v1, two of v2; the others cost nothing.

    preprocess: with the control map alone, which the hosted API does not have.
    """
    yield Call("v1-jpeg", "POST", _V1, _body())
    yield Call("v1-png", "POST", _V1, _body(image_format="png"))
    yield Call("v1-base64", "POST", _V1, _body(base64=True))
    yield Call("v2-webp", "POST", _V2, _body(image_format="webp"))
    yield Call("v2-samples", "POST", _V2, _body(samples=2))
    yield Call("v2-unreachable-image", "POST", _V2, _body(image="https://picture.invalid/a.png"))
    if preprocess:
        yield Call("preprocess", "POST", f"{_V1}/preprocess", _body())
    yield Call("credits", "GET", "/v1/get-user-credits")
    yield Call("no-key", "POST", _V2, _body(), auth=Auth.NONE)
    yield Call("wrong-key", "POST", _V2, _body(), auth=Auth.WRONG)
    yield Call("no-prompt", "POST", _V1, {"image": "https://picture.invalid/a.png"})
    yield Call("malformed-json", "POST", _V1, "{")
    yield Call("wrong-content-type", "POST", _V1, "prompt", content_type="text/plain")
    yield Call("unknown-model", "POST", "/v1/no-such-model", _body())
    yield Call("unknown-request", "GET", f"/v2/requests/{_UNKNOWN_ID}/status")
    yield Call("wrong-method", "GET", _V1)
