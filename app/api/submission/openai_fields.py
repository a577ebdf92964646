"""Turns a body of OpenAI's images API into a submission: its parameters into ours. Parameters of
ours that OpenAI does not have are read as they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Annotated, Any

from fastapi import Depends, Request

from app.api.auth import Submitter
from app.api.deps import ServicesDep
from app.api.submission.submit import PendingSubmission, read_parts, submission_of
from app.api.wire.faults import shown
from app.api.wire.openai import DEFAULT_QUALITIES, IGNORED, RESPONSE_FORMATS, STEPS_OF_QUALITY
from app.api.wire.requests import JSON_FIELDS
from app.core.errors import InvalidRequest

_OURS = {
    "size": ("custom_width", "custom_height", "use_input_img_dimension"),
    "n": ("samples",),
    "output_format": ("image_format",),
    "output_compression": ("quality",),
    "response_format": ("base64",),
}
"""Our parameters that one of OpenAI's stands for."""

_REFUSED = {
    "mask": "a mask is not supported, because the control shapes the whole picture",
    "markup": "a markup is not supported; draw it into image",
    "images": "is not supported; send one picture as image",
}
_PICTURES = ("image", "control_image", "controls")
_SIZE = re.compile(r"([0-9]{1,5})[xX]([0-9]{1,5})")
_TRUE = (True, 1, "true", "True", "1")


@dataclass(frozen=True, slots=True)
class OwnFields:
    """The fields of a body by our names. theirs: for each of our names OpenAI's name that the
    client used."""

    fields: dict[str, Any]
    theirs: Mapping[str, str]

    @contextmanager
    def errors_by_their_names(self) -> Iterator[None]:
        """The names of the client in every InvalidRequest."""
        try:
            yield
        except InvalidRequest as error:
            raise InvalidRequest(self._renamed(error.text), error.headers) from None

    def _renamed(self, text: str) -> str:
        for ours, theirs in self.theirs.items():
            text = re.sub(rf"(^|; ){ours}: ", rf"\g<1>{theirs}: ", text)
        return text


def own_fields(sent: Mapping[str, Any]) -> OwnFields:
    """OpenAI's parameters as ours. Raises InvalidRequest for those that ask for what this server
    cannot do, and for a parameter beside one of ours with the same meaning."""
    fields = {name: value for name, value in sent.items() if value is not None}
    _refuse(fields)
    for name in (*IGNORED, "background", "stream"):
        fields.pop(name, None)
    if fields.get("size") == "auto":
        del fields["size"]
    _map_quality(fields)
    theirs = {ours: name for name, names in _OURS.items() if name in fields for ours in names}
    for ours, name in theirs.items():
        if ours in fields:
            raise InvalidRequest(f"{ours}: is not allowed with {name}")
    if "size" in fields:
        fields |= _own_size(fields.pop("size"))
    if "n" in fields:
        fields["samples"] = fields.pop("n")
    if "output_compression" in fields:
        fields["quality"] = fields.pop("output_compression")
    fields.setdefault("image_format", fields.pop("output_format", "png"))
    fields.setdefault("base64", _as_base64(fields.pop("response_format", "b64_json")))
    return OwnFields(fields, theirs)


def _refuse(fields: Mapping[str, Any]) -> None:
    for name, reason in _REFUSED.items():
        if name in fields:
            raise InvalidRequest(f"{name}: {reason}")
    if fields.get("stream") in _TRUE:
        raise InvalidRequest(
            "stream: true is not supported; /v2/flux-controlnet has a stream of events"
        )
    if fields.get("background") == "transparent":
        raise InvalidRequest("background: transparent is not supported; pictures are opaque")
    for name in JSON_FIELDS:
        if any(field.startswith(f"{name}[") for field in fields):
            raise InvalidRequest(f"{name}: in a form its value is the list as JSON text")
    if not any(name in fields for name in _PICTURES):
        raise InvalidRequest(
            "image: is missing; this server paints along a control picture, so send image or "
            "control_image: a file, a URL or base64"
        )


def _map_quality(fields: dict[str, Any]) -> None:
    """A word becomes a number of steps; a number is our own `quality` and stays."""
    quality = fields.get("quality")
    if not isinstance(quality, str) or quality.isdecimal():
        return
    if quality not in (*DEFAULT_QUALITIES, *STEPS_OF_QUALITY):
        words = ", ".join((*DEFAULT_QUALITIES, *STEPS_OF_QUALITY))
        raise _not_allowed("quality", quality, f"{words} and an integer from 10 to 100")
    del fields["quality"]
    if quality in STEPS_OF_QUALITY:
        fields.setdefault("steps", STEPS_OF_QUALITY[quality])


def _own_size(size: object) -> dict[str, Any]:
    match = _SIZE.fullmatch(size) if isinstance(size, str) else None
    if match is None:
        raise _not_allowed("size", size, "auto and WIDTHxHEIGHT in pixels")
    width, height = map(int, match.groups())
    return {"use_input_img_dimension": False, "custom_width": width, "custom_height": height}


def _as_base64(response_format: object) -> bool:
    if response_format not in RESPONSE_FORMATS:
        raise _not_allowed("response_format", response_format, " and ".join(RESPONSE_FORMATS))
    return response_format == "b64_json"


def _not_allowed(name: str, value: object, allowed: str) -> InvalidRequest:
    return InvalidRequest(f"{name}: {shown(value)} is not allowed; allowed are {allowed}")


@dataclass(frozen=True, slots=True)
class PendingImages:
    """own: the fields that it was made from."""

    submission: PendingSubmission
    own: OwnFields


async def read_images(request: Request, services: ServicesDep, caller: Submitter) -> PendingImages:
    """read_submission() for a body of OpenAI's images API."""
    parts = await read_parts(request, services, listed_image=True)
    own = own_fields(parts.fields)
    with own.errors_by_their_names():
        parts = replace(parts, fields=own.fields)
        submission = await submission_of(request, services, caller, parts)
    return PendingImages(submission, own)


ImagesDep = Annotated[PendingImages, Depends(read_images)]
