"""The request bodies: the hosted service's 17 parameters and our own, with their ranges, defaults,
aliases and error texts.
"""

from __future__ import annotations

from functools import cache
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from app.api.wire.controls import OWN_PICTURES, Controls, all_have_pictures, window_faults
from app.api.wire.faults import not_served, sentence_of
from app.api.wire.fields import ControlType, Integer, Level, Number, Side, Text, one_of, schema_of
from app.api.wire.loras import Loras, repetitions
from app.core.errors import InvalidRequest
from app.core.images.file_kinds import READ
from app.core.requests.types import OF_ONE_CONTROL, GenerationParameters
from app.core.webhooks.message import URL_MAX as WEBHOOK_MAX
from models.spec import (
    CANNY_HIGH,
    CANNY_LOW,
    CONTROLS_MAX,
    LORAS_MAX,
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

PICTURE_FIELDS = ("image", "control_image")
"""Fields that may be files in a form."""

JSON_FIELDS = {
    "controls": f"a list of 1 to {CONTROLS_MAX} objects",
    "loras": f"a list of at most {LORAS_MAX} objects",
}
"""Fields that are JSON text in a form, and what is needed there."""


def _canonical_sampler(value: object) -> object:
    return SAMPLER_ALIASES.get(value, value) if isinstance(value, str) else value


def _either_picture(schema: dict[str, Any]) -> None:
    """`control_image` and `controls` make `image` optional, which pydantic cannot express."""
    schema["required"].remove("image")
    pictures = [{"required": ["image"]}, {"required": ["control_image"]}]
    schema["anyOf"] = [*pictures, OWN_PICTURES]


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
    sampler: Annotated[str, one_of(SAMPLER_NAMES), BeforeValidator(_canonical_sampler)] = Field(
        "euler", description="Method of a step."
    )
    scheduler: Annotated[str, one_of(SCHEDULE_NAMES)] = Field(
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
        "pose",
        description="Kind of control map: depth, edges, limbs, or the picture itself, also "
        "blurred, in gray or of low quality.",
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
    image_format: Annotated[str, one_of(("jpeg", "png", "webp"))] = Field(
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
    profile: Annotated[str, one_of(PROFILE_NAMES)] = Field(
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
    cn_start: Number = Field(
        0.0, ge=0, le=1, description="Share of the steps before which there is no control."
    )
    canny_low: Level = Field(CANNY_LOW, description="Threshold above which edges go on.")
    canny_high: Level = Field(CANNY_HIGH, description="Threshold above which edges begin.")
    controls: Controls = Field(default_factory=tuple)
    loras: Loras = Field(default_factory=tuple)

    @model_validator(mode="before")
    @classmethod
    def _image_is_not_read(cls, fields: Any) -> Any:
        if not isinstance(fields, dict):
            return fields
        if "control_image" in fields or all_have_pictures(fields.get("controls")):
            return {**fields, "image": "not read"}
        return fields

    def parameters(self, *, seed: int, only_map: bool) -> GenerationParameters:
        """The parameters as they are stored, but for the sums of LoRA files. seed: the drawn one
        where the body has -1."""
        return GenerationParameters(
            prompt=self.prompt,
            sampler=self.sampler,
            scheduler=self.scheduler,
            seed=seed,
            base64=self.base64,
            cn_stop=self.cn_stop,
            cn_strength=self.cn_strength,
            cn_type=self.cn_type,
            cn_start=self.cn_start,
            canny_low=self.canny_low,
            canny_high=self.canny_high,
            controls=tuple(control.parameters() for control in self.controls),
            loras=tuple(lora.parameters() for lora in self.loras),
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
    canny_low: Level = CANNY_LOW
    canny_high: Level = CANNY_HIGH


Body = TypeVar("Body", FluxControlNetBody, PreprocessBody)


def parse_body(kind: type[Body], fields: dict[str, Any], checkpoint: str = "demo") -> Body:
    """The validated body. checkpoint: the served one. Raises InvalidRequest: `field: the fault; the
    allowed values`."""
    try:
        body = kind.model_validate(without_null(kind, fields))
    except ValidationError as error:
        sentences = [sentence_of(detail, _schema(), checkpoint) for detail in error.errors()]
        raise InvalidRequest("; ".join(sentences)) from None
    if contradictions := _contradictions(body, checkpoint):
        raise InvalidRequest("; ".join(contradictions))
    return body


def _contradictions(body: FluxControlNetBody | PreprocessBody, checkpoint: str) -> list[str]:
    """Sentences about valid values that do not go together, or not with the checkpoint."""
    types = {"cn_type": body.cn_type}
    sentences: list[str] = []
    if isinstance(body, FluxControlNetBody):
        sentences += repetitions(body.loras)
        if body.controls:
            types = {f"controls[{at}].type": of.type for at, of in enumerate(body.controls)}
            sentences += [
                f"{name}: is not allowed with controls"
                for name in (*OF_ONE_CONTROL, "control_image")
                if name in body.model_fields_set
            ]
            sentences += window_faults(body.controls)
        elif body.cn_start > body.cn_stop:
            sentences.append(
                f"cn_start: {body.cn_start:g} is not allowed; allowed is a number from 0 to "
                f"cn_stop, which is {body.cn_stop:g}"
            )
    refusals = (not_served(name, control, checkpoint) for name, control in types.items())
    sentences += [refusal for refusal in refusals if refusal is not None]
    if body.canny_low > body.canny_high:
        sentences.append(
            f"canny_low: {body.canny_low} is not allowed; allowed is an integer from 0 to "
            f"canny_high, which is {body.canny_high}"
        )
    return sentences


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


@cache
def _schema() -> dict[str, Any]:
    """The schema of all parameters. Cached: generating it takes longer than the rest of an error
    response."""
    return schema_of(FluxControlNetBody)
