"""The provenance of a picture that only the gpu worker knows: weights, libraries, device, sigmas.

It goes into the record and from there into the receipt.
"""

from __future__ import annotations

import hashlib
import platform
from functools import cache
from importlib.metadata import version
from typing import TYPE_CHECKING

import torch

from app import VERSION
from app.core.requests.types import Provenance
from models.sampling import sigmas_for
from models.spec import GenerationSpec

if TYPE_CHECKING:
    from models.checkpoints import LoadedCheckpoint

_LIBRARIES = ("torch", "diffusers", "transformers", "controlnet-aux", "numpy", "pillow")


def provenance(loaded: LoadedCheckpoint, spec: GenerationSpec) -> Provenance:
    """sigmas_sha256 hashes the schedule's sigmas as little-endian float32."""
    sigmas = sigmas_for(spec.schedule, spec.steps, spec.mu, spec.sampler)
    numbers = sigmas.to(torch.float32).numpy().astype("<f4").tobytes()
    return Provenance(
        checkpoint=loaded.checkpoint.name,
        weights=dict(loaded.weights),
        device=_device(loaded.device),
        dtype=str(loaded.dtype).removeprefix("torch."),
        mu=spec.mu,
        sigmas_sha256=hashlib.sha256(numbers).hexdigest(),
        versions=_versions(_annotator_libraries(loaded)),
    )


def _device(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()


def _annotator_libraries(loaded: LoadedCheckpoint) -> tuple[str, ...]:
    annotators = loaded.checkpoint.all_annotators()
    return tuple(sorted({annotator.library for annotator in annotators if annotator.library}))


@cache
def _versions(annotator_libraries: tuple[str, ...]) -> dict[str, str]:
    # A checkout has no package metadata, so our own version comes from the code.
    own = {"flux-controlnet-server": VERSION, "python": platform.python_version()}
    libraries = {name: version(name) for name in (*_LIBRARIES, *annotator_libraries)}
    return {**own, **libraries, "cuda": torch.version.cuda or "none"}
