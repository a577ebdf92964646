"""`python -m app.cli models list` and `models download NAME`: the weights of the servable models.

Says and prints; what a download is, is models/checkpoints/weights.py. Builds no model.
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
    """A line for each model and for each of its parts."""
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
    """Fetch what is missing, then read and check all of it; the exit code says whether it is good.

    A download that broke off goes on where it stopped. A file that is damaged is removed, so that
    the next call fetches it anew.
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
            wanted = missing(part)
            revision = part.revision or "its newest revision"
            print(f"{role}: {part.repository} at {revision}, {part.licence}")
            print(f"  {wanted.files} files, {wanted.size / 1e9:.1f} GB to fetch", flush=True)
            folder = fetch(part)
            wrong = damaged(folder)
            for path in wrong:
                forget(path)
            if wrong:
                names = ", ".join(path.name for path in wrong)
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
