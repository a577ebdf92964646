"""A receipt submitted again: the same parameters over HTTP, and whether the same pictures come out.

Talks to a server as any client would; verifies nothing.
"""

from __future__ import annotations

import base64
import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from app.commands.receipt_files import Statement

Control = tuple[str, Sequence[Path]]
"""The name of a parameter and the file that it is to hold, or one for each control."""

_POLL_S = 0.2
_COMPARED = ("checkpoint", "weights", "device", "dtype", "mu", "sigmas_sha256", "versions")


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """urllib would take the key along, to whatever host a redirect names."""

    def redirect_request(self, *_: object) -> None:
        return None


_OPENER = urllib.request.build_opener(_NoRedirect)


@dataclass(frozen=True, slots=True)
class Api:
    """A server as the key's owner sees it."""

    url: str
    key: str

    def call(self, path_or_url: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """The JSON of an answer. Raises ValueError with the server's sentence."""
        url = path_or_url if "://" in path_or_url else self.url.rstrip("/") + path_or_url
        if urlsplit(url).scheme not in ("http", "https"):  # urllib would open files, too
            raise ValueError(f"{url} is no URL of a server: http:// or https:// is missing")
        data = None if body is None else json.dumps(body).encode()
        headers = {"x-api-key": self.key, "content-type": "application/json"}
        request = urllib.request.Request(url, data, headers)
        try:
            with _OPENER.open(request) as answer:
                return dict(json.load(answer))
        except urllib.error.HTTPError as error:
            with error:
                raise ValueError(f"the server answered {error.code}: {_reason(error)}") from None
        except urllib.error.URLError as error:
            raise ValueError(f"{self.url} cannot be reached: {error.reason}") from None


def _reason(error: urllib.error.HTTPError) -> str:
    try:
        return str(json.load(error)["error"])
    except (ValueError, LookupError, TypeError):
        return error.reason


def body_of(statement: Statement, control: Control | None) -> dict[str, Any]:
    """The request that the statement is about; its control is the file given as a parameter
    (`image` or `control_image`), else the map it links. A request with `controls` has a file or a
    map for each of them, or one `image` for all.

    Raises ValueError when there is neither, when their number is wrong, and for no prompt.
    """
    content = statement.content
    body = dict(content["parameters"])
    if "prompt" not in body:
        raise ValueError("its prompt was too long to be kept in the picture; use the receipt")
    if "loras" in body:
        body["loras"] = [{"name": of["name"], "scale": of["scale"]} for of in body["loras"]]
    controls = body.get("controls", ())
    if control is None:
        pictures = [control_map["url"] for control_map in _linked_maps(content)]
        custom = {"custom_width": content["width"], "custom_height": content["height"]}
        body |= {"use_input_img_dimension": False, **custom}
        field = "control_image"
    else:
        field, files = control
        pictures = [base64.b64encode(file.read_bytes()).decode() for file in files]
    if not controls or (field == "image" and len(pictures) == 1):
        if len(pictures) > 1:
            raise ValueError("it has one control, so it needs one file")
        return {**body, field: pictures[0]}
    if len(pictures) != len(controls):
        raise ValueError(f"it has {len(controls)} controls, and each one needs its own file")
    own = [{**of, field: picture} for of, picture in zip(controls, pictures, strict=True)]
    return {**body, "controls": own}


def _linked_maps(content: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    control_map = content.get("control_map")
    if not control_map:
        raise ValueError(
            "it links no control map; name its picture with --image, or its map with --map"
        )
    return list(content.get("control_maps") or [control_map])


def replay(statement: Statement, control: Control | None, api: Api) -> Iterator[tuple[bool, str]]:
    """Submit it, wait, and yield for each picture whether its pixels are the same, in words too.
    What else is different is said beside it. Raises ValueError.
    """
    submitted = api.call("/v2/flux-controlnet", body_of(statement, control))
    while api.call(submitted["status_url"])["status"] != "COMPLETED":
        time.sleep(_POLL_S)
    again = api.call(f"{submitted['response_url']}/receipt")["receipt"]
    for before, after in zip(statement.outputs, again["outputs"], strict=True):
        same = before["pixels_sha256"] == after["pixels_sha256"]
        yield same, f"{before['file_name']}: {_compared(before, after)}"
    for name in _COMPARED:
        if name in statement.content and statement.content[name] != again[name]:
            yield True, f"{name}: was {statement.content[name]}, is {again[name]}"
    before, after = (of["parameters"].get("loras") for of in (statement.content, again))
    if before != after:  # a file was replaced
        yield True, f"loras: were {before}, are {after}"


def _compared(before: Any, after: Any) -> str:
    if before["sha256"] == after["sha256"]:
        return "the same file, bit for bit"
    same = before["pixels_sha256"] == after["pixels_sha256"]
    return "the same pixels, another file" if same else "other pixels"
