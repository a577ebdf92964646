"""What only the gpu worker knows of how a picture comes about: which weights, libraries, device and
sigmas. It goes into the record and from there into the receipt.
"""

from __future__ import annotations

import hashlib
import platform
from functools import cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import torch

from app import VERSION
from models.sampling import sigmas_for
from models.spec import GenerationSpec

if TYPE_CHECKING:
    from models.checkpoints import LoadedCheckpoint

_LIBRARIES = ("torch", "diffusers", "transformers", "controlnet-aux", "numpy", "pillow")


def provenance(loaded: LoadedCheckpoint, spec: GenerationSpec) -> dict[str, Any]:
    """JSON-ready. sigmas_sha256 is of the float32 numbers, little-endian, that were visited."""
    sigmas = sigmas_for(spec.schedule, spec.steps, spec.mu, spec.sampler)
    numbers = sigmas.to(torch.float32).numpy().astype("<f4").tobytes()
    return {
        "checkpoint": loaded.checkpoint.name,
        "weights": dict(loaded.weights),
        "device": _device(loaded.device),
        "dtype": str(loaded.dtype).removeprefix("torch."),
        "mu": spec.mu,
        "sigmas_sha256": hashlib.sha256(numbers).hexdigest(),
        "versions": _versions(),
    }


def _device(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()


@cache
def _versions() -> dict[str, str]:
    # This project runs from a checkout too, where no package metadata says its version.
    own = {"flux-controlnet-server": VERSION, "python": platform.python_version()}
    found = {name: version(name) for name in _LIBRARIES}
    return {**own, **found, "cuda": torch.version.cuda or "none"}
