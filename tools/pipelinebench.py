"""Counts the operations of one request on the CPU, against diffusers' FluxControlNetPipeline.

Usage: scripts/bench pipeline [--json FILE]
A stand-in of random weights, euler/simple, cn_stop 0.5. Counts do not depend on the machine, so
they can be gates in the tests; seconds are for `scripts/bench gpu`. Takes about a minute on one
core.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, FluxControlNetModel
from PIL import Image
from torch.utils._python_dispatch import TorchDispatchMode

from models.checkpoints import LoadedCheckpoint, load
from models.flux.compilation import compile_blocks, compiled_graphs
from models.loras.lora_options import LoraOptions
from models.pipeline import generate
from models.sampling import sigmas_for
from models.spec import SAMPLER_NAMES, GenerationSpec, Lora
from tools.stand_in import stand_in
from tools.stand_in_loras import mixed_loras

SPEC = GenerationSpec(
    prompt="a lighthouse", control="tile", width=192, height=128, steps=10, seed=1
)
CONTROLLED = 6 / 10
"""The shipped pipeline's control_guidance_end that keeps the steps which the sigma rule keeps."""

SYNCS = ("aten.nonzero", "aten._local_scalar_dense")
SCALAR_COPIES = ("aten.lift_fresh",)

Request = Callable[[GenerationSpec], object]
Specs = Iterable[GenerationSpec]


class OperationCount(TorchDispatchMode):
    """Counts the operators that are dispatched, by name; `work` leaves views out."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        self.counts: Counter[str] = Counter()
        self.work = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.counts[str(func.overloadpacket)] += 1
        self.work += not func.is_view
        return func(*args, **(kwargs or {}))

    def of(self, names: tuple[str, ...]) -> int:
        return sum(self.counts[name] for name in names)


@contextmanager
def rows_seen(module: torch.nn.Module) -> Iterator[list[int]]:
    """The batch size of every call of a module."""
    seen: list[int] = []

    def note(_module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        first = args[0] if args else next(iter(kwargs.values()))
        seen.append(int(first.shape[0]))

    handle = module.register_forward_pre_hook(note, with_kwargs=True)
    try:
        yield seen
    finally:
        handle.remove()


def picture(spec: GenerationSpec) -> Image.Image:
    """Noise by the spec's seed; a new seed is a new control map."""
    pixels = np.random.default_rng(spec.seed).integers(0, 256, (spec.height, spec.width, 3))
    return Image.fromarray(pixels.astype(np.uint8))


def ours(loaded: LoadedCheckpoint) -> Request:
    return lambda spec: generate(loaded, spec, picture(spec), lambda _step, _steps: None)


def shipped(loaded: LoadedCheckpoint) -> Request:
    pipe = loaded.pipe

    def request(spec: GenerationSpec) -> object:
        pipe.scheduler = FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=False, shift=1.0)
        return pipe(
            spec.prompt,
            width=spec.width,
            height=spec.height,
            sigmas=sigmas_for(spec.schedule, spec.steps)[:-1].tolist(),
            num_images_per_prompt=spec.samples,
            guidance_scale=spec.guidance,
            control_image=picture(spec),
            control_mode=loaded.checkpoint.modes[spec.control],
            controlnet_conditioning_scale=spec.strength,
            control_guidance_end=CONTROLLED if spec.stop < 1 else 1.0,
            generator=torch.Generator().manual_seed(spec.seed),
        )

    return request


def counts(loaded: LoadedCheckpoint, request: Request) -> dict[str, float]:
    """Every gauge but the compiled graphs."""
    pipe = loaded.pipe
    controlnet, transformer = pipe.controlnet.x_embedder, pipe.transformer.x_embedder
    encoders = pipe.text_encoder, pipe.text_encoder_2
    request(SPEC)
    with (
        rows_seen(controlnet) as controlled,
        rows_seen(transformer) as evaluated,
        rows_seen(encoders[0]) as clip,
        rows_seen(encoders[1]) as t5,
    ):
        request(SPEC)
    with rows_seen(pipe.vae.encoder) as encoded:
        request(replace(SPEC, samples=4, seed=2))
    short, long = (
        _operations(request, replace(SPEC, steps=steps, stop=1.0, seed=steps)) for steps in (10, 20)
    )
    return {
        "controlnet_calls": len(controlled),
        "transformer_calls": len(evaluated),
        "scalar_copies_per_step": (long.of(SCALAR_COPIES) - short.of(SCALAR_COPIES)) / 10,
        "syncs_per_request": short.of(SYNCS),
        "text_encoder_calls_repeated_prompt": len(clip) + len(t5),
        "vae_encode_rows_4_samples": sum(encoded),
        "aten_ops_per_step": (long.work - short.work) / 10,
    }


def _operations(request: Request, spec: GenerationSpec) -> OperationCount:
    operations = OperationCount()
    with operations:
        request(spec)
    return operations


def mixed_requests(samplers: tuple[str, ...]) -> Iterator[GenerationSpec]:
    """Twenty requests of different sizes, windows, strengths and samplers."""
    draw = random.Random(5)
    for index in range(20):
        yield replace(
            SPEC,
            width=16 * draw.randint(4, 20),
            height=16 * draw.randint(4, 20),
            stop=draw.choice([0.5, 1.0]),
            strength=draw.choice([0.3, 0.45, 1.2]),
            guidance=draw.choice([2.5, 3.5]),
            sampler=samplers[index % len(samplers)],
            steps=3,
            seed=index,
        )


def graphs(request: Request, warm_ups: Specs, mixed: Specs) -> tuple[int, int]:
    """Compiled graphs after the warm-up, and after the mixed requests too."""
    before = compiled_graphs()
    for spec in warm_ups:
        request(replace(spec, width=256, height=256, steps=4))
    warm = compiled_graphs() - before
    for spec in mixed:
        request(spec)
    return warm, compiled_graphs() - before


def lora_requests(all_loras: Sequence[Lora]) -> Iterator[GenerationSpec]:
    """The mixed requests, half of them with one to four LoRAs of any scale."""
    draw = random.Random(19)
    for spec in mixed_requests(SAMPLER_NAMES):
        count = draw.choice([0, 0, 1, 1, 2, 4])
        drawn = draw.sample(all_loras, count)
        loras = (replace(lora, scale=draw.choice([-1, 0.5, 1])) for lora in drawn)
        yield replace(spec, loras=tuple(loras))


def compile_as_documented(loaded: LoadedCheckpoint) -> None:
    """diffusers' regional compilation; its ControlNet has it only after its blocks are declared."""
    FluxControlNetModel._repeated_blocks = loaded.pipe.transformer._repeated_blocks
    for network in (loaded.pipe.transformer, loaded.pipe.controlnet):
        network.compile_repeated_blocks(fullgraph=True, backend="eager")


def measure(folder: Path) -> dict[str, dict[str, float]]:
    """Both sides, each on a checkpoint of its own."""
    result = {}
    checkpoint = stand_in(folder)
    for name, side in (("ours", ours), ("shipped", shipped)):
        loaded = load(checkpoint, torch.device("cpu"))
        loaded.pipe.set_progress_bar_config(disable=True)
        found = counts(loaded, side(loaded))
        torch._dynamo.reset()
        if name == "ours":
            pair = loaded.networks.of("exact")
            compile_blocks(pair.blocks(), backend="eager")
            warm, after = graphs(side(loaded), [SPEC], mixed_requests(SAMPLER_NAMES))
        else:
            compile_as_documented(loaded)
            warm, after = graphs(side(loaded), [SPEC], mixed_requests(("euler",)))
        result[name] = {**found, "compiled_graphs": after, "compiled_graphs_when_warm": warm}
    return result


def measure_loras(folder: Path, backend: str) -> dict[str, float]:
    """The graphs of requests with and without LoRAs, and the bytes that a change of LoRAs copies to
    the device."""
    torch._dynamo.reset()
    options = LoraOptions(folder, max_rank=128)
    loaded = load(stand_in(folder), torch.device("cpu"), loras=options)
    pair = loaded.networks.of("exact")
    loras = mixed_loras(folder, pair.transformer)
    assert pair.layers is not None
    compile_blocks(pair.blocks(), backend=backend)
    request = ours(loaded)
    blank = replace(SPEC, loras=(loaded.adapters.blank(pair.layers),))
    warm, after = graphs(request, [SPEC, blank], lora_requests(loras))
    of_all = next(lora for lora in loras if lora.name == "all")
    copied = [loaded.adapters.copied]
    for spec in (replace(SPEC, loras=(of_all,)), SPEC, replace(SPEC, loras=(of_all,))):
        request(spec)
        copied.append(loaded.adapters.copied)
    return {
        "compiled_graphs": after,
        "compiled_graphs_when_warm": warm,
        "bytes_of_a_lora": (folder / "all.safetensors").stat().st_size,
        "bytes_copied_by_a_change": copied[1] - copied[0],
        "bytes_copied_by_the_same_again": copied[3] - copied[1],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--json", type=Path, default=None)
    parser.add_argument(
        "--backend",
        choices=("eager", "inductor"),
        default="eager",
        help="of the blocks with LoRAs; inductor compiles them for the CPU, which takes minutes",
    )
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        result = measure(Path(folder))
    with tempfile.TemporaryDirectory() as folder:
        loras = measure_loras(Path(folder), arguments.backend)
    print(f"{'':36}{'ours':>10}{'shipped':>10}")
    for gauge, value in result["ours"].items():
        print(f"{gauge:36}{value:10g}{result['shipped'][gauge]:10g}")
    print("with LoRAs")
    for gauge, value in loras.items():
        print(f"{gauge:36}{value:10.0f}")
    if arguments.json is not None:
        arguments.json.write_text(json.dumps({**result, "loras": loras}, indent=2) + "\n")


if __name__ == "__main__":
    main()
