"""Warnings that only the gpu worker can give: about the control map, the prompt and the profile."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from app.core.requests.record import RequestRecord
from app.core.requests.warnings import RequestWarning, WarningCode
from models.controls.pose import has_people

if TYPE_CHECKING:
    from PIL import Image

    from models.pipeline import Generation
    from models.text import PromptCut


def generation_warnings(
    record: RequestRecord, generation: Generation
) -> tuple[RequestWarning, ...] | None:
    """The warnings about a finished generation; None without any."""
    warnings = list(map_warnings(record, generation.control_maps) or ())
    warnings += map(_cut, generation.prompt_cuts)
    asked, used = record.params.profile, generation.profile
    if asked and asked != used:
        message = f"this server could not use {asked}, so it used {used}"
        warnings.append(RequestWarning(WarningCode.PROFILE_CHANGED, "profile", message))
    return tuple(warnings) or None


def map_warnings(
    record: RequestRecord, control_maps: Sequence[Image.Image]
) -> tuple[RequestWarning, ...] | None:
    """The warnings about pose maps of this server without a person; None without any. A black map
    of the client is left alone. control_maps: one for each control."""
    message = "no person was found in the picture, so the pose map is black and controls nothing"
    controls = zip(record.params.all_controls, record.are_maps or (), control_maps, strict=False)
    warnings = tuple(
        RequestWarning(
            WarningCode.EMPTY_POSE_MAP,
            f"controls[{index}].type" if record.params.controls else "cn_type",
            message,
        )
        for index, (control, is_own, control_map) in enumerate(controls)
        if control.type == "pose" and not is_own and not has_people(control_map)
    )
    return warnings or None


def _cut(cut: PromptCut) -> RequestWarning:
    message = f"{cut.encoder} read {cut.used} of {cut.total} tokens; the rest had no effect on it"
    return RequestWarning(WarningCode.PROMPT_CUT, "prompt", message)
