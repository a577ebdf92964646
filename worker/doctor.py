"""The model checks of `python -m app.cli doctor`: the device, the memory plan of the configured
checkpoint, its weights and their licence. Loads no weights.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from app.core.findings import Finding, fail, ok, warn
from app.core.settings import Settings
from app.core.system.memory import memory_limit
from models.errors import CheckpointError
from models.loras.lora_options import NO_LORAS
from models.memory.plans import Machine, MemoryPlan, choose_plan
from models.spec import PROFILE_NAMES
from worker.library_logging import silence_libraries

if TYPE_CHECKING:
    import torch

    from models.checkpoints import Checkpoint
    from models.memory.footprint import Footprint


def examine_model(settings: Settings, hashing: bool) -> Iterator[Finding]:
    """hashing: read all downloaded weights and compare their hashes (minutes for large models)."""
    silence_libraries()
    from models.checkpoints.footprint import footprint
    from models.checkpoints.loader import best_device, plan_for
    from worker.model import served_checkpoint

    device, checkpoint = best_device(), served_checkpoint(settings)
    yield _driver()
    yield _device(device, checkpoint)
    yield from _kernels(device)
    try:
        plan = plan_for(checkpoint, device, memory_limit(), settings.profile, settings.loras)
        yield _plan("memory plan", plan, settings.profile)
    except CheckpointError as error:
        remedy = "stop what else is on the card, or take a larger one (docs/performance.md)"
        yield fail("memory plan", str(error), remedy)
    yield from _weights(checkpoint, hashing, footprint(checkpoint))
    yield from _licences(checkpoint)


def examine_assumed(settings: Settings, card: float, ram: float | None) -> Iterator[Finding]:
    """The memory plans of a machine with a card of `card` GB and `ram` GB of RAM (None: as this
    machine has), one for each value of PROFILE.

    They are those of the configured checkpoint, or of the first large one if it is negligible.
    """
    silence_libraries()
    from models.checkpoints import CHECKPOINTS
    from models.checkpoints.footprint import footprint

    machine = Machine.of_size(card, ram or 0)
    if ram is None:
        machine = replace(machine, ram=memory_limit())
    checkpoints = (CHECKPOINTS[settings.checkpoint], *CHECKPOINTS.values())
    name, needs = next(
        (checkpoint.name, needs)
        for checkpoint in checkpoints
        if (needs := footprint(checkpoint)) is not None
    )
    # The demo's own LoRAs are none of a large checkpoint.
    loras = settings.loras if settings.loras_dir else NO_LORAS
    for profile in PROFILE_NAMES:
        what = f"memory plan of {name} with PROFILE={profile}"
        try:
            plan = choose_plan(needs, machine, profile, loras)
            yield _plan(what, plan, profile)
        except CheckpointError as error:
            yield fail(what, str(error), "see the table in docs/performance.md")


def _plan(what: str, plan: MemoryPlan, profile: str) -> Finding:
    served = plan.profile(profile)
    if served == profile:
        return ok(what, str(plan))
    return warn(what, str(plan), f"{profile} needs a larger card; set PROFILE={served}")


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
        if checkpoint.architecture is None:
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


def _weights(checkpoint: Checkpoint, hashing: bool, needs: Footprint | None) -> Iterator[Finding]:
    from models.checkpoints.weights import damaged, find

    complete = True
    remedy = f"python -m app.cli models download {checkpoint.name}"
    for role, part in checkpoint.parts().items():
        subject = f"weights, {role}"
        if part.source is None:
            yield ok(subject, "came with the server")
            continue
        folder = find(part)
        if folder is None:
            complete = False
            yield fail(subject, f"{part.source} is not complete on this disk", remedy)
        elif not hashing:
            yield ok(subject, f"{part.source} is on this disk; --hash compares its hashes")
        elif damaged_files := damaged(folder):
            names = ", ".join(path.name for path in damaged_files)
            yield fail(subject, f"{part.source}: {names} is not what its hash says", remedy)
        else:
            yield ok(subject, f"{part.source} is on this disk, as its hashes say")
    if not complete and needs is not None:
        yield _room(needs)


def _room(needs: Footprint) -> Finding:
    from models.checkpoints.weights import room

    free, all_parts = room(), needs.files
    sizes = f"{free / 1e9:.1f} GB free in HF_HOME, all weights are {all_parts / 1e9:.1f} GB"
    if free < all_parts:
        return warn("disk for weights", sizes, "make room, or set HF_HOME to a larger disk")
    return ok("disk for weights", sizes)


def _licences(checkpoint: Checkpoint) -> Iterator[Finding]:
    for licence in dict.fromkeys((checkpoint.base.licence, checkpoint.controlnet.licence)):
        remedy = "production use needs a licence of its own; see README"
        yield _licence("licence", f"{checkpoint.name}: {licence}", remedy)
    for control, annotator in checkpoint.annotators.items():
        remedy = "POSE_ANNOTATOR=dwpose and blazepose are Apache-2.0; see README"
        stated = f"{annotator.name}: {annotator.part.licence}"
        yield _licence(f"licence, {control} annotator", stated, remedy)


def _licence(subject: str, stated: str, remedy: str) -> Finding:
    if "non-commercial" in stated.lower():
        return warn(subject, stated, remedy)
    return ok(subject, stated)
