"""What describes a servable model: where its parts come from, what they are licensed under, and
which number of the ControlNet's mode embedding each control type has. Loads nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from models.controls import Annotators
from models.memory import Footprint


@dataclass(frozen=True, slots=True)
class Part:
    """A folder of weights: a repository of the Hugging Face hub, or one made locally.

    repository: `owner/name`, or None when `build` makes the folder.
    revision: commit, branch or tag of the repository.
    files: patterns of the files that are needed.
    sizes: file -> bytes it must have, where a revision is not known.
    folder: of a part that is made locally, below the checkpoint's own folder.
    """

    licence: str
    repository: str | None = None
    revision: str | None = None
    files: tuple[str, ...] = ()
    sizes: Mapping[str, int] = field(default_factory=dict)
    folder: str = ""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A base pipeline (FluxControlNetPipeline layout), a Union ControlNet and two annotators.

    modes: control type -> index of the ControlNet's mode embedding, None where it has none.
    load_annotators: folder of the annotators -> detectors.
    build: makes the local parts below a folder; None when every part is downloaded.
    footprint: what it needs of a card's memory; None when that is next to nothing.
    """

    name: str
    base: Part
    controlnet: Part
    annotators: Part
    modes: Mapping[str, int | None]
    load_annotators: Callable[[Path], Annotators]
    build: Callable[[Path], None] | None = None
    footprint: Footprint | None = None

    def parts(self) -> Mapping[str, Part]:
        """Its folders of weights by what they are for."""
        return {"base": self.base, "controlnet": self.controlnet, "annotators": self.annotators}


# Shakker-Labs/FLUX.1-dev-ControlNet-Union-Pro, model card: canny 0, tile 1, depth 2, blur 3,
# pose 4, gray 5, low quality 6.
UNION_MODES: Mapping[str, int | None] = {"canny": 0, "tile": 1, "depth": 2, "pose": 4}
