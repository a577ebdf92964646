"""The data of a request: its parameters, where its picture comes from, the files that it makes.

Owns the names of these fields in Redis. Each class is read from stored JSON and written to it here
and nowhere else; docs/releases.md says what two versions may expect of each other.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from app.core.stored_json import from_dict, from_stored, to_dict
from models.spec import CANNY_HIGH, CANNY_LOW, Control, Lora

ADDED_PARAMETERS: Mapping[str, Any] = {
    "cn_start": 0.0,
    "canny_low": CANNY_LOW,
    "canny_high": CANNY_HIGH,
    "controls": (),
    "loras": (),
}
"""Parameters that older versions ignore although they change the picture, and their defaults. A
value is stored, signed and hashed only where it is not the default."""

OF_ONE_CONTROL = ("cn_type", "cn_strength", "cn_start", "cn_stop")
"""Parameters that `controls` replaces."""

_GUARD = "newer:"
"""Prefix of `cn_type` in a record with such a parameter. An older worker does not know the
type, so it fails the request instead of making another picture."""


@dataclass(frozen=True, slots=True)
class GenerationParameters:
    """The parameters of a generation, by the names of the body (app/api/wire/requests.py), which
    defines their ranges.

    seed: the drawn one where the body had -1. profile: "" where the body named none. only_map: the
    client wants the control map alone; the parameters of a picture are defaults then.
    controls: where there are some, cn_type, cn_strength, cn_start and cn_stop have no meaning.
    loras: with the SHA-256 sums that their files had at the submission.
    unknown_fields: parameters that another version has added.
    """

    prompt: str = ""
    sampler: str = "euler"
    scheduler: str = "simple"
    seed: int = 0
    base64: bool = False
    cn_stop: float = 0.5
    cn_strength: float = 0.45
    cn_type: str = "pose"
    custom_height: int = 1024
    custom_width: int = 1024
    guidance: float = 3.5
    image_format: str = "jpeg"
    quality: int = 95
    samples: int = 1
    steps: int = 20
    use_input_img_dimension: bool = True
    profile: str = ""
    preview: bool = False
    only_map: bool = False
    cn_start: float = 0.0
    canny_low: int = CANNY_LOW
    canny_high: int = CANNY_HIGH
    controls: tuple[Control, ...] = ()
    loras: tuple[Lora, ...] = ()
    unknown_fields: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_json(cls, text: str) -> GenerationParameters:
        values = json.loads(text)
        if "cn_type" in values:
            values["cn_type"] = values["cn_type"].removeprefix(_GUARD)
        if "controls" in values:
            controls = (from_dict(Control, control) for control in values["controls"])
            values["controls"] = tuple(controls)
        if "loras" in values:
            values["loras"] = tuple(from_dict(Lora, lora) for lora in values["loras"])
        return from_dict(cls, values)

    @property
    def all_controls(self) -> tuple[Control, ...]:
        """`controls`, or the one of cn_type, cn_strength, cn_start and cn_stop."""
        one = Control(self.cn_type, self.cn_strength, self.cn_start, self.cn_stop)
        return self.controls or (one,)

    def added(self) -> dict[str, Any]:
        """The values of ADDED_PARAMETERS that are not the defaults, JSON-ready."""
        values = {name: getattr(self, name) for name in ADDED_PARAMETERS}
        added = {name: of for name, of in values.items() if of != ADDED_PARAMETERS[name]}
        if self.controls:
            added["controls"] = [to_dict(control) for control in self.controls]
        if self.loras:
            added["loras"] = [to_dict(lora) for lora in self.loras]
        return added

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready. `only_map` is there only where it is true, and of ADDED_PARAMETERS what is
        not the default."""
        values = to_dict(self)
        if not self.only_map:
            del values["only_map"]
        added = self.added()
        for name in ADDED_PARAMETERS:
            if name in added:
                values[name] = added[name]
            else:
                del values[name]
        return values

    def to_json(self) -> str:
        values = self.to_dict()
        if self.added():
            values["cn_type"] = _GUARD + values["cn_type"]
        return json.dumps(values)

    def to_body(self) -> dict[str, Any]:
        """The parameters as a client could send them again: no profile where none was named, no
        cn_* beside `controls`, and no sums of files."""
        values = self.to_dict()
        if not self.profile:
            del values["profile"]
        if self.controls:
            values = {name: values[name] for name in values if name not in OF_ONE_CONTROL}
        if self.loras:
            values["loras"] = [{"name": of.name, "scale": of.scale} for of in self.loras]
        return values


class SourceKind(StrEnum):
    """How a picture came: a URL, a file in a form, base64 in the body."""

    URL = "url"
    FILE = "file"
    BASE64 = "base64"


@dataclass(frozen=True, slots=True)
class Source:
    """Where a picture of a request comes from.

    field: the parameter that named it: `image`, `control_image`, or one of these in an element of
    `controls`, such as `controls[1].image`. kind: a SourceKind, or a word of
    another version. url: of the picture, one of this server's own included; None when the bytes
    came with the request, which are in a blob then.
    """

    field: str = "image"
    kind: str = "unknown"
    url: str | None = None

    @classmethod
    def from_json(cls, text: str) -> Source:
        return from_stored(cls, text)

    def to_json(self) -> str:
        return json.dumps(self._to_dict())

    def _to_dict(self) -> dict[str, Any]:
        values = to_dict(self)
        if self.url is None:
            del values["url"]
        return values

    @property
    def is_map(self) -> bool:
        """Whether the picture is a ready control map."""
        return self.field.rpartition(".")[2] == "control_image"

    @classmethod
    def list_from_json(cls, text: str) -> tuple[Source, ...]:
        return tuple(from_dict(cls, values) for values in json.loads(text))

    @staticmethod
    def list_to_json(sources: Iterable[Source]) -> str:
        return json.dumps([source._to_dict() for source in sources])


@dataclass(frozen=True, slots=True)
class StoredPicture:
    """A file that a request has made: a control map, or with its seed an Output. width, height:
    pixels. pixels_sha256: of the decoded pixels, raw RGB."""

    file_name: str
    content_type: str = ""
    file_size: int = 0
    width: int = 0
    height: int = 0
    sha256: str = ""
    pixels_sha256: str = ""

    @classmethod
    def from_json(cls, text: str) -> StoredPicture:
        return from_stored(cls, text)

    @classmethod
    def list_from_json(cls, text: str) -> tuple[StoredPicture, ...]:
        return tuple(from_dict(StoredPicture, values) for values in json.loads(text))

    def to_dict(self) -> dict[str, Any]:
        return to_dict(self)

    def with_seed(self, seed: int) -> Output:
        return Output(**self.to_dict(), seed=seed)


@dataclass(frozen=True, slots=True)
class Output(StoredPicture):
    """A finished picture. unknown_fields: what another version knows of it."""

    seed: int = 0
    unknown_fields: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Output:
        return from_dict(cls, values)


def outputs_from_json(text: str) -> tuple[Output, ...]:
    """All finished pictures of a request."""
    return tuple(Output.from_dict(values) for values in json.loads(text))


@dataclass(frozen=True, slots=True)
class Provenance:
    """What the gpu worker knows of how a picture was made. weights: SHA-256 by part. mu: the shift
    of the schedule. sigmas_sha256: of the sigmas as little-endian float32. versions: by library.
    unknown_fields: what another version adds.
    """

    checkpoint: str | None = None
    weights: Mapping[str, str] = field(default_factory=dict)
    device: str = ""
    dtype: str = ""
    mu: float = 0.0
    sigmas_sha256: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    unknown_fields: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_json(cls, text: str) -> Provenance:
        return from_stored(cls, text)

    def to_dict(self) -> dict[str, Any]:
        return to_dict(self)


@dataclass(frozen=True, slots=True)
class SavedWork:
    """What an execution of GENERATE has saved for a later one.

    source: what the model's answers depend on besides the request. pictures: for each finished one
    how often the model and the ControlNet were evaluated. chunks: blobs with answers for the
    unfinished picture, and the number of answers in each. seconds: spent so far.
    """

    source: str = ""
    pictures: tuple[tuple[int, int], ...] = ()
    chunks: tuple[tuple[str, int], ...] = ()
    seconds: float = 0.0

    @classmethod
    def from_json(cls, text: str) -> SavedWork:
        values = json.loads(text)
        return cls(
            source=values.get("source", ""),
            pictures=tuple((total, controlled) for total, controlled in values.get("made", ())),
            chunks=tuple((name, answers) for name, answers in values.get("chunks", ())),
            seconds=values.get("seconds", 0.0),
        )

    def to_json(self) -> str:
        return json.dumps(
            {
                "source": self.source,
                "made": self.pictures,
                "chunks": self.chunks,
                "seconds": self.seconds,
            }
        )


@dataclass(frozen=True, slots=True)
class WebhookTarget:
    """url: the receiver of the message about the request's end. origin: of the links in it."""

    url: str
    origin: str = ""

    @classmethod
    def from_json(cls, text: str) -> WebhookTarget:
        return from_stored(cls, text)

    def to_json(self) -> str:
        return json.dumps(to_dict(self))
