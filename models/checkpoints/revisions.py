"""The exact revision of a checkpoint's part, for receipts.

It is the commit of a repository, or a digest of the files of a local part.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from models.checkpoints.checkpoint import Part


def revision_of(part: Part, folder: Path) -> str:
    """`owner/name@commit` for a part of the hub, `name==version@sha256:...` for one of a wheel,
    `sha256:...` for a part shipped with the server.

    folder: its files; for the hub its snapshot folder, which is named after the commit.
    """
    if part.wheel is not None:
        return f"{part.wheel.requirement}@sha256:{part.wheel.sha256}"
    if part.repository is not None:
        return f"{part.repository}@{folder.name}"
    digest = hashlib.sha256()
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        content = hashlib.sha256(file.read_bytes()).hexdigest()
        digest.update(f"{file.relative_to(folder)} {content}\n".encode())
    return f"sha256:{digest.hexdigest()}"
