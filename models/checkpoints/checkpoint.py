"""The description of a servable model: the sources and licences of its parts, and its modes.

A mode is the index of a control type in the ControlNet's mode embedding. Loads nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from models.checkpoints.architecture import Architecture
from models.controls import Annotators


@dataclass(frozen=True, slots=True)
class Part:
    """A folder of weights: a repository of the Hugging Face hub, or a local folder.

    repository: `owner/name`, or None for a local folder.
    revision: commit, branch or tag of the repository.
    files: patterns of the required files.
    sizes: file -> required bytes, for a part without a pinned revision.
    folder: the local folder of a part without a repository.
    """

    licence: str
    repository: str | None = None
    revision: str | None = None
    files: tuple[str, ...] = ()
    sizes: Mapping[str, int] = field(default_factory=dict)
    folder: Path | None = None


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A base pipeline (FluxControlNetPipeline layout), a ControlNet and annotators.

    modes: control type -> index of the ControlNet's mode embedding, None where it has none.
    load_annotators: folder of the annotators -> detectors.
    text_tokens: T5 tokens per prompt, padding included, as in the networks' training.
    verified: a folder whose files must match the SHA-256 sums listed in it; None for weights that
        a repository and a revision identify.
    architecture: the shapes of its networks; None when their memory is negligible on every card.
    """

    name: str
    base: Part
    controlnet: Part
    annotators: Part
    modes: Mapping[str, int | None]
    load_annotators: Callable[[Path], Annotators]
    text_tokens: int = 512
    verified: Path | None = None
    architecture: Architecture | None = None

    def parts(self) -> Mapping[str, Part]:
        """Its folders of weights by role."""
        return {"base": self.base, "controlnet": self.controlnet, "annotators": self.annotators}
