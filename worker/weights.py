"""The commands `python -m app.cli models list` and `models download NAME`.

They print the state of the weights; models/checkpoints/weights.py downloads and checks them. Builds
no model.
"""

from __future__ import annotations

import sys

from app.core.settings import Settings
from app.core.system.exit import refuse
from models.errors import CheckpointError
from models.spec import CHECKPOINT_NAMES
from worker.library_logging import silence_libraries

_FAILED = 1


def list_models(settings: Settings) -> int:
    """Print a line for each model and for each of its parts."""
    silence_libraries()
    from models.checkpoints import CHECKPOINTS
    from models.checkpoints.weights import find

    for name, checkpoint in CHECKPOINTS.items():
        served = "  (CHECKPOINT)" if name == settings.checkpoint else ""
        print(f"{name}{served}")
        for role, part in checkpoint.parts().items():
            if part.repository is None:
                print(f"  {role}: came with the server; {part.licence}")
            else:
                state = "on this disk" if find(part) else "not on this disk"
                at = f"@{part.revision}" if part.revision else ""
                print(f"  {role}: {part.repository}{at}: {state}; {part.licence}")
    return 0


def download(name: str) -> int:
    """Download the missing files, then verify all files. Returns 0 when all of them are valid.

    An interrupted download resumes. A damaged file is deleted, so that the next call downloads it
    again.
    """
    if name not in CHECKPOINT_NAMES:
        refuse(f"models: {name!r} is none of {', '.join(CHECKPOINT_NAMES)}")
    silence_libraries()
    from models.checkpoints import CHECKPOINTS
    from models.checkpoints.weights import damaged, fetch, forget, missing

    parts = {role: part for role, part in CHECKPOINTS[name].parts().items() if part.repository}
    if not parts:
        print(f"{name}: nothing to download; it came with the server")
    try:
        for role, part in parts.items():
            missing_files = missing(part)
            revision = part.revision or "its newest revision"
            print(f"{role}: {part.repository} at {revision}, {part.licence}")
            print(
                f"  {missing_files.files} files, {missing_files.size / 1e9:.1f} GB to fetch",
                flush=True,
            )
            folder = fetch(part)
            damaged_files = damaged(folder)
            for path in damaged_files:
                forget(path)
            if damaged_files:
                names = ", ".join(path.name for path in damaged_files)
                print(
                    f"models: {part.repository}: {names} came damaged and was removed; "
                    "run this again",
                    file=sys.stderr,
                )
                return _FAILED
            print(f"  complete and as its hashes say: {folder}", flush=True)
    except CheckpointError as error:
        refuse(f"models: {error}")
    return 0
