"""The parameter `loras` of a request body: LoRA files by name, each with its scale."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from app.api.wire.fields import Number, Text, length_limited
from models.loras.lora_file import SUFFIX
from models.spec import LORA_SCALE_MAX, LORAS_MAX, Lora

_NAME_MAX = 255  # of a file


def _without_suffix(name: object) -> object:
    return name.removesuffix(SUFFIX) if isinstance(name, str) else name


class LoraBody(BaseModel):
    """An element of `loras`. Unknown keys are ignored, null counts as left out."""

    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)

    name: Annotated[Text, BeforeValidator(_without_suffix)] = Field(
        min_length=1,
        max_length=_NAME_MAX,
        description="A name of the list of models, with or without .safetensors.",
    )
    scale: Number = Field(
        1.0,
        ge=-LORA_SCALE_MAX,
        le=LORA_SCALE_MAX,
        description="Factor on its change of the weights; 0 leaves it out.",
    )

    @model_validator(mode="before")
    @classmethod
    def _given(cls, fields: Any) -> Any:
        if isinstance(fields, dict) and fields.get("scale", 0) is None:
            return {name: value for name, value in fields.items() if name != "scale"}
        return fields

    def parameters(self) -> Lora:
        """Without the sum of its file, which only a submission looks up."""
        return Lora(self.name, self.scale)


Loras = Annotated[
    tuple[LoraBody, ...],
    Field(
        json_schema_extra={"minItems": 0, "maxItems": LORAS_MAX},
        description="LoRAs of this server, applied together; GET "
        "/inference-model-information/list has their names. In a form: JSON text.",
    ),
    length_limited(0, LORAS_MAX),
]


def repetitions(loras: tuple[LoraBody, ...]) -> Iterator[str]:
    """A sentence for each LoRA that an earlier element names, too."""
    places: dict[str, int] = {}
    for index, lora in enumerate(loras):
        first = places.setdefault(lora.name, index)
        if first != index:
            yield f"loras[{index}].name: is that of loras[{first}]; each LoRA is allowed once"
