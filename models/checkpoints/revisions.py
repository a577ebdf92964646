"""Which weights exactly a part of a checkpoint is: the commit of a repository, or a digest of the
files where there is none. For receipts; decides nothing.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from models.checkpoints.checkpoint import Part


def revision_of(part: Part, folder: Path) -> str:
    """`owner/name@commit` of a downloaded part, `sha256:...` of one that came with the server.

    folder: where its files are; of a download the snapshot, which is named after its commit.
    """
    if part.repository is not None:
        return f"{part.repository}@{folder.name}"
    digest = hashlib.sha256()
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        content = hashlib.sha256(file.read_bytes()).hexdigest()
        digest.update(f"{file.relative_to(folder)} {content}\n".encode())
    return f"sha256:{digest.hexdigest()}"
