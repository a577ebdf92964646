"""The commands `python -m app.cli models list` and `models download NAME`.

NAME is a checkpoint, with the annotators of the settings, or an annotator.

They print the state of the weights; models/checkpoints/weights.py downloads and checks them. Builds
no model.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

from app.core.settings import Settings
from app.core.system.exit import refuse
from models.control_types import DEPTH_ANNOTATORS, POSE_ANNOTATORS
from models.errors import CheckpointError
from models.spec import CHECKPOINT_NAMES
from worker.library_logging import silence_libraries

if TYPE_CHECKING:
    from models.checkpoints.checkpoint import Part

_FAILED = 1


def list_models(settings: Settings) -> int:
    """Print a line for each model and for each of its parts."""
    silence_libraries()
    from models.checkpoints import CHECKPOINTS
    from models.checkpoints.annotators import CHOICES

    for name, checkpoint in CHECKPOINTS.items():
        served = "  (CHECKPOINT)" if name == settings.checkpoint else ""
        print(f"{name}{served}")
        for role, part in checkpoint.parts().items():
            _print_part(role, part)
    settings_of = {
        settings.depth_annotator: "  (DEPTH_ANNOTATOR)",
        settings.pose_annotator: "  (POSE_ANNOTATOR)",
    }
    for name, annotator in CHOICES.items():
        print(f"{name}{settings_of.get(name, '')}")
        _print_part(annotator.role, annotator.part)
    return 0


def _print_part(role: str, part: Part) -> None:
    from models.checkpoints.weights import find

    if part.source is None:
        print(f"  {role}: came with the server; {part.licence}")
    else:
        state = "on this disk" if find(part) else "not on this disk"
        at = f"@{part.revision}" if part.revision else ""
        print(f"  {role}: {part.source}{at}: {state}; {part.licence}")


def download(settings: Settings, name: str) -> int:
    """Download the missing files, then verify all files. Returns 0 when all of them are valid.

    An interrupted download resumes. A damaged file is deleted, so that the next call downloads it
    again.
    """
    names = *CHECKPOINT_NAMES, *DEPTH_ANNOTATORS[1:], *POSE_ANNOTATORS[1:]
    if name not in names:
        refuse(f"models: {name!r} is none of {', '.join(names)}")
    silence_libraries()
    from models.checkpoints.weights import damaged, fetch, forget, missing

    parts = {role: part for role, part in _parts(settings, name).items() if part.source}
    if not parts:
        print(f"{name}: nothing to download; it came with the server")
    try:
        for role, part in parts.items():
            missing_files = missing(part)
            revision = part.revision or ("its newest revision" if part.repository else "its hash")
            print(f"{role}: {part.source} at {revision}, {part.licence}")
            print(
                f"  {missing_files.files} files, {missing_files.size / 1e9:.1f} GB to fetch",
                flush=True,
            )
            folder = fetch(part)
            damaged_files = damaged(folder)
            for path in damaged_files:
                forget(path)
            if damaged_files:
                damaged_names = ", ".join(path.name for path in damaged_files)
                print(
                    f"models: {part.source}: {damaged_names} came damaged and was removed; "
                    "run this again",
                    file=sys.stderr,
                )
                return _FAILED
            print(f"  complete and as its hashes say: {folder}", flush=True)
    except CheckpointError as error:
        refuse(f"models: {error}")
    return 0


def _parts(settings: Settings, name: str) -> Mapping[str, Part]:
    from models.checkpoints import CHECKPOINTS
    from models.checkpoints.annotators import CHOICES, with_annotators

    if name in CHOICES:
        return {CHOICES[name].role: CHOICES[name].part}
    annotators = settings.depth_annotator, settings.pose_annotator
    return with_annotators(CHECKPOINTS[name], *annotators).parts()
