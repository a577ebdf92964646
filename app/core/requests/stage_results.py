"""What each stage of a request adds to its record, as fields of the Redis hash.

app/core/requests/record.py reads them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from app.core.requests.types import Output, Provenance, StoredPicture
from app.core.requests.warnings import RequestWarning
from app.core.stored_json import to_dict


@dataclass(frozen=True, slots=True)
class StageResult:
    """What a stage adds to the record. This base class adds nothing, as FETCH does."""

    def to_fields(self) -> dict[str, str]:
        """Texts as they are, other values as JSON. None is not stored."""
        return {
            name: value if isinstance(value, str) else json.dumps(value, default=to_dict)
            for name, value in to_dict(self).items()
            if value is not None
        }


@dataclass(frozen=True, slots=True)
class PrepareResult(StageResult):
    """width, height: of the result, in pixels. work: in work units. profile: the speed profile that
    is to be used. annotated: the blob `ID:control` has the control map, not the picture.
    annotations: the same for each control of a request with `controls`; None for any other. load:
    GpuLoad.total."""

    width: int
    height: int
    work: float
    profile: str
    annotated: bool
    annotations: tuple[bool, ...] | None = None
    load: float | None = None


@dataclass(frozen=True, slots=True)
class MapResult(StageResult):
    """Of GENERATE for a control map alone. inference_s: seconds of the detector.
    generation_warnings: None without any."""

    inference_s: float
    generation_warnings: tuple[RequestWarning, ...] | None = None


@dataclass(frozen=True, slots=True)
class GenerateResult(StageResult):
    """inference_s: seconds in the model. evaluations, controlled: how often the model and the
    ControlNet were evaluated. profile: the speed profile that was used. predicted_s: the forecast,
    at the start, of the seconds to the request's end; None without one. generation_warnings: None
    without any. device: as the worker calls it; None if unknown."""

    inference_s: float
    evaluations: int
    controlled: int
    profile: str
    provenance: Provenance
    predicted_s: float | None = None
    generation_warnings: tuple[RequestWarning, ...] | None = None
    device: str | None = None

    def to_fields(self) -> dict[str, str]:
        fields = StageResult.to_fields(self)
        fields["made_with"] = fields.pop("provenance")
        return fields


@dataclass(frozen=True, slots=True)
class FinishResult(StageResult):
    """outputs: the finished pictures by index. control_map: None for a request that asked for
    nothing else, and where the gpu worker stored none. further_maps: of the controls after the
    first; None without any. outputs_expire_at: when all these files expire, in Unix seconds; None
    for the expiry of the record."""

    outputs: tuple[Output, ...] = ()
    control_map: StoredPicture | None = None
    further_maps: tuple[StoredPicture, ...] | None = None
    outputs_expire_at: int | None = None

    def to_fields(self) -> dict[str, str]:
        """With an expiry of the files also output_bytes: the size of all, for the quota."""
        fields = StageResult.to_fields(self)
        if self.outputs_expire_at is not None:
            maps = (self.control_map, *(self.further_maps or ()))
            files = (*self.outputs, *(control_map for control_map in maps if control_map))
            fields["output_bytes"] = str(sum(file.file_size for file in files))
        return fields
