"""The request bodies: the hosted service's 17 parameters and our own, with their ranges, defaults,
aliases and error texts.
"""

from __future__ import annotations

import json
from functools import cache
from typing import Annotated, Any, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError

from app.core.errors import InvalidRequest
from app.core.images.file_kinds import READ
from app.core.requests.types import GenerationParameters
from app.core.webhooks.message import URL_MAX as WEBHOOK_MAX
from models.geometry import MAX_SIDE, MIN_SIDE
from models.spec import (
    CONTROL_NAMES,
    PROFILE_NAMES,
    SAMPLER_ALIASES,
    SAMPLER_NAMES,
    SAMPLES_MAX,
    SCHEDULE_NAMES,
    SEED_MAX,
    STEPS_MIN,
)

PROMPT_MAX = 100_000
# URLs that are always accepted. Addresses are too, where FETCH_ALLOW_HOSTS allows them.
_WEBHOOK = (
    r"^https?://([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,63}"
    r"(:(80|443|8080|8443))?(/[!-~]*)?$"
)

_SURROGATE = "lone_surrogate"

PICTURE_FIELDS = ("image", "control_image")
"""Fields that may be files in a form."""


def _no_boolean(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("a number is needed, not a boolean")
    return value


def _canonical_sampler(value: object) -> object:
    return SAMPLER_ALIASES.get(value, value) if isinstance(value, str) else value


def _no_surrogates(value: object) -> object:
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError as error:
            surrogate = value[error.start]
            raise PydanticCustomError(_SURROGATE, f"\\u{ord(surrogate):04x}") from None
    return value


def _one_of(names: tuple[str, ...]) -> FieldInfo:
    """A string of a fixed set, which the OpenAPI document and the error text list."""
    pattern = "^(" + "|".join(names) + ")$"
    info: FieldInfo = Field(pattern=pattern, json_schema_extra={"enum": list(names)})
    return info


Integer = Annotated[int, BeforeValidator(_no_boolean)]
Number = Annotated[float, BeforeValidator(_no_boolean)]
Text = Annotated[str, BeforeValidator(_no_surrogates)]
Side = Annotated[int, Field(ge=MIN_SIDE, le=MAX_SIDE), BeforeValidator(_no_boolean)]
ControlType = Annotated[str, _one_of(CONTROL_NAMES)]


def _either_picture(schema: dict[str, Any]) -> None:
    """`control_image` makes `image` optional, which pydantic cannot express."""
    schema["required"].remove("image")
    schema["anyOf"] = [{"required": ["image"]}, {"required": ["control_image"]}]


class FluxControlNetBody(BaseModel):
    """Body of POST /v1/flux-controlnet and /v2/flux-controlnet. Unknown keys are ignored."""

    model_config = ConfigDict(
        extra="ignore", frozen=True, allow_inf_nan=False, json_schema_extra=_either_picture
    )

    image: Text = Field(
        min_length=1,
        description="The picture to take the control from: http(s) URL, base64 or a data URI. "
        f"{READ}.",
    )
    prompt: Text = Field(
        min_length=1, max_length=PROMPT_MAX, pattern=r"\S", description="What to paint."
    )
    sampler: Annotated[str, _one_of(SAMPLER_NAMES), BeforeValidator(_canonical_sampler)] = Field(
        "euler", description="Method of a step."
    )
    scheduler: Annotated[str, _one_of(SCHEDULE_NAMES)] = Field(
        "simple", description="Noise levels that the steps visit."
    )
    seed: Integer = Field(-1, ge=-1, le=SEED_MAX, description="-1 draws one and reports it.")
    base64: bool = Field(False, description="Pictures as base64 in the response.")
    cn_stop: Number = Field(
        0.5, ge=0, le=1, description="Share of the steps after which the control ends."
    )
    cn_strength: Number = Field(
        0.45, ge=0, le=2, description="Weight of the control map; 0 leaves it out."
    )
    cn_type: ControlType = Field(
        "pose", description="Kind of control map: depth, edges, limbs, or the picture itself."
    )
    custom_height: Side = Field(
        1024, description="Height of the result if `use_input_img_dimension` is false."
    )
    custom_width: Side = Field(
        1024, description="Width of the result if `use_input_img_dimension` is false."
    )
    guidance: Number = Field(
        3.5, ge=1, le=15, description="How closely the picture follows the prompt."
    )
    image_format: Annotated[str, _one_of(("jpeg", "png", "webp"))] = Field(
        "jpeg", description="File format of the result."
    )
    quality: Integer = Field(
        95, ge=10, le=100, description="Quality of jpeg and webp; png ignores it."
    )
    samples: Integer = Field(
        1, ge=1, le=SAMPLES_MAX, description="Number of pictures; each has the next seed."
    )
    steps: Integer = Field(20, ge=STEPS_MIN, le=75, description="Steps of the sampler.")
    use_input_img_dimension: bool = Field(
        True, description="The result has the size of the input, not the custom size."
    )
    # "" when left out. With None as the default the schema would allow null.
    profile: Annotated[str, _one_of(PROFILE_NAMES)] = Field(
        default_factory=str, description="Speed profile; the server's own when left out."
    )
    preview: bool = Field(False, description="Events of steps carry a small picture.")
    webhook_url: Text = Field(
        default_factory=str,
        min_length=1,
        max_length=WEBHOOK_MAX,
        description="Receiver of the webhook about the end of the request. No private address.",
        json_schema_extra={"pattern": _WEBHOOK},
    )
    control_image: Text = Field(
        default_factory=str,
        min_length=1,
        description="A ready control map, in any form of `image`; `image` is not read then.",
    )

    @model_validator(mode="before")
    @classmethod
    def _image_is_not_read(cls, fields: Any) -> Any:
        if isinstance(fields, dict) and "control_image" in fields:
            return {**fields, "image": "not read"}
        return fields

    def parameters(self, *, seed: int, only_map: bool) -> GenerationParameters:
        """The parameters as they are stored. seed: the drawn one where the body has -1."""
        return GenerationParameters(
            prompt=self.prompt,
            sampler=self.sampler,
            scheduler=self.scheduler,
            seed=seed,
            base64=self.base64,
            cn_stop=self.cn_stop,
            cn_strength=self.cn_strength,
            cn_type=self.cn_type,
            custom_height=self.custom_height,
            custom_width=self.custom_width,
            guidance=self.guidance,
            image_format=self.image_format,
            quality=self.quality,
            samples=self.samples,
            steps=self.steps,
            use_input_img_dimension=self.use_input_img_dimension,
            profile=self.profile,
            preview=self.preview,
            only_map=only_map,
        )


class PreprocessBody(BaseModel):
    """Body of POST /v1/flux-controlnet/preprocess. Unknown keys are ignored, so the body of the
    picture that is to follow will do.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    image: Text = Field(
        min_length=1,
        description=f"The picture to make the map of: http(s) URL, base64 or a data URI. {READ}.",
    )
    cn_type: ControlType = "pose"
    custom_height: Side = 1024
    custom_width: Side = 1024
    use_input_img_dimension: bool = True


Body = TypeVar("Body", FluxControlNetBody, PreprocessBody)


def parse_body(kind: type[Body], fields: dict[str, Any]) -> Body:
    """The validated body. Raises InvalidRequest: `field: the fault; the allowed values`."""
    try:
        return kind.model_validate(without_null(kind, fields))
    except ValidationError as error:
        sentences = [_sentence(detail) for detail in error.errors()]
        raise InvalidRequest("; ".join(sentences)) from None


def without_null(kind: type[BaseModel], fields: dict[str, Any]) -> dict[str, Any]:
    """The fields without optional parameters that are null: null counts as left out."""
    return {
        name: value
        for name, value in fields.items()
        if value is not None or _is_required(kind, name)
    }


def without_empty(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields of a form. An empty optional field counts as left out, an empty boolean as false:
    PHP sends these for null and for false."""
    known = FluxControlNetBody.model_fields
    remaining = {}
    for name, value in fields.items():
        if value != "" or _is_required(FluxControlNetBody, name):
            remaining[name] = value
        elif name in known and known[name].annotation is bool:
            remaining[name] = False
    return remaining


def _is_required(kind: type[BaseModel], name: str) -> bool:
    return name in kind.model_fields and kind.model_fields[name].is_required()


def _sentence(detail: Any) -> str:
    name = str(detail["loc"][0])
    if detail["type"] == _SURROGATE:
        return (
            f"{name}: {detail['msg']} is not allowed without its other half, which makes a "
            "character of it; a string of Unicode characters is needed"
        )
    if detail["type"] == "missing":
        return f"{name}: is missing; {_allowed(name)}"
    value = detail["input"]
    if isinstance(value, str) and not value.strip():
        return f"{name}: is empty; {_allowed(name)}"
    return f"{name}: {_shown(value)} is not allowed; {_allowed(name)}"


def _shown(value: object) -> str:
    """A value as it was sent, cut short. Lists and objects only by kind: they may be long, or too
    deep for json.dumps."""
    if isinstance(value, list):
        return "a list"
    if isinstance(value, dict):
        return "an object"
    shown = json.dumps(value[:60] if isinstance(value, str) else value)
    return shown if len(shown) <= 60 else shown[:57] + "..."


@cache
def _properties() -> dict[str, Any]:
    """The schema. Cached: generating it takes longer than the rest of an error response."""
    return dict(FluxControlNetBody.model_json_schema()["properties"])


def _allowed(name: str) -> str:
    """The allowed values of a parameter in words, from its schema."""
    schema = _properties()[name]
    if "enum" in schema:
        return "allowed are " + ", ".join(schema["enum"])
    if schema["type"] == "boolean":
        return "allowed are true and false"
    if schema["type"] == "string":
        longest = f" of at most {schema['maxLength']} characters" if "maxLength" in schema else ""
        return "a non-empty string is needed" + longest
    kind = "an integer" if schema["type"] == "integer" else "a number"
    return f"allowed is {kind} from {schema['minimum']} to {schema['maximum']}"
