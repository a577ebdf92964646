"""A copy of tiny weights that a test may damage, and the published layout in sparse files."""

from __future__ import annotations

import dataclasses
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from models.checkpoints import Checkpoint

_MEMORY_DISK = Path("/dev/shm")  # noqa: S108  # a folder with a random name is made in it


@pytest.fixture
def copied(stand_in_checkpoint: Checkpoint, tmp_path: Path) -> Checkpoint:
    """Tiny networks of the real classes whose files may be changed."""
    parts = {}
    for role, part in stand_in_checkpoint.parts().items():
        assert part.folder is not None
        folder = Path(shutil.copytree(part.folder, tmp_path / role))
        parts[role] = dataclasses.replace(part, folder=folder)
    annotators = {
        control: dataclasses.replace(annotator, part=parts[annotator.role])
        for control, annotator in stand_in_checkpoint.annotators.items()
    }
    return dataclasses.replace(
        stand_in_checkpoint,
        base=parts["base"],
        controlnet=parts["controlnet"],
        annotators=annotators,
    )


@pytest.fixture(scope="session")
def published_cache() -> Iterator[Path]:
    """HF_HUB_CACHE with the published layout; its files must not be changed.

    In memory where there is such a disk: elsewhere the system reads gigabytes of zeros ahead.
    """
    from tests.support.published_layout import write_hub_cache
    from tests.support.sparse_weights import supports_holes

    fast = _MEMORY_DISK if os.access(_MEMORY_DISK, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="published-", dir=fast) as folder:
        if not supports_holes(Path(folder)):
            pytest.skip("this disk has no sparse files, and the layout has 41 GB")
        write_hub_cache(Path(folder, "hub"))
        yield Path(folder, "hub")
