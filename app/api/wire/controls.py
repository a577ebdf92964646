"""The parameter `controls` of a request body: several controls, each with its own picture,
strength and window.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from app.api.wire.fields import ControlType, Number, Text, length_limited
from models.spec import CONTROLS_MAX, Control

_EITHER = {"anyOf": [{"required": ["image"]}, {"required": ["control_image"]}]}

OWN_PICTURES = {
    "required": ["controls"],
    "properties": {"controls": {"items": _EITHER}},
}
"""The schema of a body in which every control has its own picture."""


class ControlBody(BaseModel):
    """An element of `controls`. Unknown keys are ignored, null counts as left out."""

    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)

    type: ControlType = Field(description="Kind of control map, as `cn_type`.")
    image: Text = Field(
        default_factory=str,
        min_length=1,
        description="The picture to take this control from, in any form of `image`; that of the "
        "request when left out.",
    )
    control_image: Text = Field(
        default_factory=str,
        min_length=1,
        description="A ready control map; `image` is not read then.",
    )
    strength: Number = Field(0.45, ge=0, le=2, description="As `cn_strength`.")
    start: Number = Field(0.0, ge=0, le=1, description="As `cn_start`.")
    stop: Number = Field(0.5, ge=0, le=1, description="As `cn_stop`.")

    @model_validator(mode="before")
    @classmethod
    def _given(cls, fields: Any) -> Any:
        if not isinstance(fields, dict):
            return fields
        given = {
            name: value for name, value in fields.items() if value is not None or name == "type"
        }
        if "control_image" in given:
            given.pop("image", None)
        return given

    @property
    def picture(self) -> tuple[str, str] | None:
        """(name, value) of its own picture; None if it uses that of the request."""
        if self.control_image:
            return "control_image", self.control_image
        return ("image", self.image) if self.image else None

    def parameters(self) -> Control:
        """Without the picture, as it is stored."""
        return Control(self.type, self.strength, self.start, self.stop)


Controls = Annotated[
    tuple[ControlBody, ...],
    Field(
        json_schema_extra={"minItems": 1, "maxItems": CONTROLS_MAX},
        description="Several controls instead of the one of `cn_type`, `cn_strength`, `cn_start` "
        "and `cn_stop`, which must be left out. In a form: JSON text, with files named "
        "`controls[0].image`.",
    ),
    length_limited(1, CONTROLS_MAX),
]


def all_have_pictures(controls: object) -> bool:
    """Whether every element of a `controls` as it was sent has its own picture."""
    return isinstance(controls, list) and bool(controls) and all(map(_has_picture, controls))


def _has_picture(element: object) -> bool:
    return isinstance(element, dict) and any(
        element.get(name) is not None for name in ("image", "control_image")
    )


def window_faults(controls: tuple[ControlBody, ...]) -> Iterator[str]:
    """A sentence for each control that begins after its end."""
    for index, control in enumerate(controls):
        if control.start > control.stop:
            yield (
                f"controls[{index}].start: {control.start:g} is not allowed; allowed is a number "
                f"from 0 to stop, which is {control.stop:g}"
            )
