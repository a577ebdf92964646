"""The model checks of `python -m app.cli doctor`: the device, the memory plan of the configured
checkpoint, its weights and their licence. Loads no weights.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from typing import TYPE_CHECKING

from app.core.findings import Finding, fail, ok, warn
from app.core.settings import Settings
from models.errors import CheckpointError
from worker.library_logging import silence_libraries

if TYPE_CHECKING:
    import torch

    from models.checkpoints import Checkpoint
    from models.memory.plans import Footprint


def examine_model(settings: Settings, hashing: bool) -> Iterator[Finding]:
    """hashing: read all downloaded weights and compare their hashes (minutes for large models)."""
    silence_libraries()
    from models.checkpoints import CHECKPOINTS
    from models.checkpoints.loader import best_device, plan_for

    device, checkpoint = best_device(), CHECKPOINTS[settings.checkpoint]
    yield _driver()
    yield _device(device, checkpoint)
    yield from _kernels(device)
    try:
        yield ok("memory plan", str(plan_for(checkpoint, device)))
    except CheckpointError as error:
        remedy = "stop what else is on the card, or take a larger one (docs/performance.md)"
        yield fail("memory plan", str(error), remedy)
    yield from _weights(checkpoint, hashing)
    yield from _licences(checkpoint)


def _driver() -> Finding:
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return ok("driver", "none: no nvidia-smi on PATH")
    command = [tool, "--query-gpu=driver_version", "--format=csv,noheader"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode != 0 or not result.stdout.strip():
        first_line = (result.stdout or result.stderr).strip().partition("\n")[0]
        remedy = "install NVIDIA's driver, and reboot"
        return fail("driver", f"nvidia-smi fails: {first_line}", remedy)
    return ok("driver", result.stdout.split()[0])


def _device(device: torch.device, checkpoint: Checkpoint) -> Finding:
    import torch

    if device.type != "cuda":
        description = f"cpu, no CUDA device is seen (torch {torch.__version__})"
        if checkpoint.footprint is None:
            return ok("device", description)
        remedy = (
            f"{checkpoint.name} needs a GPU: install a driver for CUDA {torch.version.cuda}, give "
            "a container its devices (--gpus all), or serve CHECKPOINT=demo"
        )
        return fail("device", description, remedy)
    properties = torch.cuda.get_device_properties(device)
    free, total = torch.cuda.mem_get_info(device)
    return ok(
        "device",
        f"{properties.name}, capability {properties.major}.{properties.minor}, "
        f"{free / 1e9:.1f} of {total / 1e9:.1f} GB free, torch {torch.__version__} "
        f"for CUDA {torch.version.cuda}",
    )


def _kernels(device: torch.device) -> Iterator[Finding]:
    from models.flux.attention import choose_attention
    from models.flux.float8 import native

    yield ok("attention", choose_attention(device))
    support = "yes" if native(device) else "no: the profiles fast and turbo are not faster here"
    yield ok("8-bit matrix units", support)


def _weights(checkpoint: Checkpoint, hashing: bool) -> Iterator[Finding]:
    from models.checkpoints.weights import damaged, find

    complete = True
    remedy = f"python -m app.cli models download {checkpoint.name}"
    for role, part in checkpoint.parts().items():
        subject = f"weights, {role}"
        if part.repository is None:
            yield ok(subject, "came with the server")
            continue
        folder = find(part)
        if folder is None:
            complete = False
            yield fail(subject, f"{part.repository} is not complete on this disk", remedy)
        elif not hashing:
            yield ok(subject, f"{part.repository} is on this disk; --hash compares its hashes")
        elif damaged_files := damaged(folder):
            names = ", ".join(path.name for path in damaged_files)
            yield fail(subject, f"{part.repository}: {names} is not what its hash says", remedy)
        else:
            yield ok(subject, f"{part.repository} is on this disk, as its hashes say")
    if not complete and checkpoint.footprint is not None:
        yield _room(checkpoint.footprint)


def _room(footprint: Footprint) -> Finding:
    from models.checkpoints.weights import room

    free, all_parts = room(), footprint.networks + footprint.encoders + footprint.rest
    sizes = f"{free / 1e9:.1f} GB free in HF_HOME, all weights are {all_parts / 1e9:.1f} GB"
    if free < all_parts:
        return warn("disk for weights", sizes, "make room, or set HF_HOME to a larger disk")
    return ok("disk for weights", sizes)


def _licences(checkpoint: Checkpoint) -> Iterator[Finding]:
    for licence in dict.fromkeys(part.licence for part in checkpoint.parts().values()):
        if "non-commercial" in licence.lower():
            remedy = "production use needs a licence of its own; see README"
            yield warn("licence", f"{checkpoint.name}: {licence}", remedy)
        else:
            yield ok("licence", f"{checkpoint.name}: {licence}")
