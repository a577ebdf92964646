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
    """A folder of weights: a repository of the Hugging Face hub, or one on this machine.

    repository: `owner/name`, or None for a folder on this machine.
    revision: commit, branch or tag of the repository.
    files: patterns of the files that are needed.
    sizes: file -> bytes it must have, where a revision is not known.
    folder: where a part without a repository is.
    """

    licence: str
    repository: str | None = None
    revision: str | None = None
    files: tuple[str, ...] = ()
    sizes: Mapping[str, int] = field(default_factory=dict)
    folder: Path | None = None


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A base pipeline (FluxControlNetPipeline layout), a Union ControlNet and two annotators.

    modes: control type -> index of the ControlNet's mode embedding, None where it has none.
    load_annotators: folder of the annotators -> detectors.
    text_tokens: T5 tokens of a prompt, padding included, as the networks were trained.
    verified: a folder whose files must have the SHA-256 sums that it states; None for weights that
        are known by repository and revision.
    footprint: what it needs of a card's memory; None when that is next to nothing.
    """

    name: str
    base: Part
    controlnet: Part
    annotators: Part
    modes: Mapping[str, int | None]
    load_annotators: Callable[[Path], Annotators]
    text_tokens: int = 512
    verified: Path | None = None
    footprint: Footprint | None = None

    def parts(self) -> Mapping[str, Part]:
        """Its folders of weights by what they are for."""
        return {"base": self.base, "controlnet": self.controlnet, "annotators": self.annotators}


# Shakker-Labs/FLUX.1-dev-ControlNet-Union-Pro, model card: canny 0, tile 1, depth 2, blur 3,
# pose 4, gray 5, low quality 6.
UNION_MODES: Mapping[str, int | None] = {"canny": 0, "tile": 1, "depth": 2, "pose": 4}
