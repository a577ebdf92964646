"""The stages of the bench in order. Each stage is one process, so that none inherits compiled code
or memory of another.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import torch
from diffusers.models.attention_dispatch import attention_backend as shipped_attention

from models import pipeline
from models.flux.attention import attention_backend, choose_attention
from models.flux.compilation import compile_blocks, compiled_graphs
from models.spec import GenerationSpec
from tools.gpubench.accuracy import Accuracy
from tools.gpubench.graphs import Recorder
from tools.gpubench.measuring import kernels, timed
from tools.gpubench.results import Options, Stage
from tools.gpubench.rig import Rig, control_map, plain_rig, request, union_rig
from tools.gpubench.ways import own, shipped, shipped_flash, shipped_skipping

STOPS = (0.5, 1.0)
PLAIN_STOP = 0.65
"""What the ControlNet's card recommends at the least."""

SIDE = 1024
OTHER_SIDES = (512, 768, 1536)
WARM_UP_SIDES = (256, 512, 768, 1024)
"""What worker/model.py makes before a gpu worker takes its first request."""

_COMPILING = 60.0
"""Seconds that compiling every block again may take."""


def eager(stage: Stage) -> None:
    """A, A2, B and C: whatever compiles nothing."""
    rig, specs, accuracy = _prepared(stage)
    device = stage.options.device
    stage.note("attention_as_shipped", attention_backend(device).name)
    with stage.attempt("kernels_A"):
        stage.note("kernels_A", kernels(lambda: accuracy.shipped(rig), device))
    of_shipped = accuracy.shipped(rig)
    with shipped_attention("_native_flash"):
        of_flash = accuracy.shipped(rig)
    error, flash_error = accuracy.error(of_shipped), accuracy.error(of_flash)
    for spec in specs:
        stage.add("A", rig, shipped, spec, evaluation_error=error)
        stage.add("A2", rig, shipped_flash, spec, evaluation_error=flash_error)
        stage.add("B", rig, shipped_skipping, spec, evaluation_error=error)
    stage.note("attention_chosen", choose_attention(device))
    ours = accuracy.ours(rig)
    stage.note("evaluation_of_C_equals_A", torch.equal(ours, of_shipped))
    for spec in specs:
        stage.add("C", rig, own, spec, evaluation_error=accuracy.error(ours))


def compiled(stage: Stage) -> None:
    """D, F, I, J and the static form of D, beside an A of the same process."""
    rig, specs, accuracy = _prepared(stage)
    error = accuracy.error(accuracy.shipped(rig))
    for spec in specs:
        stage.add("A", rig, shipped, spec, evaluation_error=error)
    _start(stage, rig, "exact")
    with stage.attempt("kernels_D"):
        stage.note("kernels_D", kernels(lambda: accuracy.ours(rig), stage.options.device))
    error = accuracy.error(accuracy.ours(rig))
    for spec in specs:
        stage.add("D", rig, own, spec, evaluation_error=error)
    with stage.attempt("F"):
        _graphed(stage, rig, accuracy)
    with stage.attempt("I"):
        _float8(stage, rig.without_copies(), accuracy)
    stage.note("graphs_at_end", compiled_graphs())
    with stage.attempt("D-static"):
        _static(stage, rig, accuracy)


def restart(stage: Stage) -> None:
    """The start of a second process, which finds the compiled code that `compiled` left."""
    rig = union_rig(stage.options.shape, stage.options.device)
    _start(stage, rig, "exact")


def shapes(stage: Stage) -> None:
    """K, which is A, B and D with the smaller ControlNet; and A and D at other sizes."""
    options = stage.options
    rig = union_rig(options.shape, options.device)
    small = plain_rig(rig, options.shape)
    spec = request(options.side(SIDE), options.steps, PLAIN_STOP)
    others = [request(options.side(side), options.steps, STOPS[0]) for side in OTHER_SIDES]
    accuracy = Accuracy(small, spec.width)
    error = accuracy.error(accuracy.shipped(small))
    stage.add("A", small, shipped, spec, evaluation_error=error)
    stage.add("B", small, shipped_skipping, spec, evaluation_error=error)
    for other in others:
        stage.add("A", rig, shipped, other)
    _start(stage, rig, "exact")
    compile_blocks(small.pair.controlnet.transformer_blocks, _backend(options))
    error = accuracy.error(accuracy.ours(small))
    stage.add("D", small, own, spec, evaluation_error=error)
    for other in others:
        stage.add("D", rig, own, other)
    stage.note("graphs_at_end", compiled_graphs())


STAGES: dict[str, Callable[[Stage], None]] = {
    "eager": eager,
    "compiled": compiled,
    "restart": restart,
    "shapes": shapes,
}


def run(name: str, options: Options) -> bool:
    """Run one stage in this process; whether nothing in it failed."""
    stage = Stage(name, options)
    STAGES[name](stage)
    return not stage.failed


def _prepared(stage: Stage) -> tuple[Rig, list[GenerationSpec], Accuracy]:
    """The rig, the request with either window, and the float32 evaluation, made before anything
    is compiled."""
    options = stage.options
    rig = union_rig(options.shape, options.device)
    specs = [request(options.side(SIDE), options.steps, stop) for stop in STOPS]
    return rig, specs, Accuracy(rig, options.side(SIDE))


def _start(stage: Stage, rig: Rig, profile: str) -> None:
    """Compile a profile's networks, warm up as a gpu worker does and make the first request.

    One picture is made before, so that the seconds are the compiler's and not the libraries'.
    """
    options = stage.options
    stage.note("attention_chosen", choose_attention(options.device))
    seconds: dict[str, float] = {}

    def make(name: str, side: int, steps: int, stop: float) -> None:
        spec = request(options.side(side), steps, stop, profile)
        one = partial(own, rig, spec, control_map(spec.width))
        seconds[name] = round(timed(one, options.device)[0], 3)

    make("eager", WARM_UP_SIDES[0], 2, 0.25)
    compile_blocks(rig.loaded.networks.of(profile).blocks(), _backend(options))
    for side in WARM_UP_SIDES:
        make(f"warm-up at {side}", side, 2, 0.25)
    make("first request", SIDE, options.steps, STOPS[0])
    stage.note(f"start_{profile}", seconds | {"graphs": compiled_graphs()})


def _graphed(stage: Stage, rig: Rig, accuracy: Accuracy) -> None:
    options = stage.options
    if options.device.type != "cuda":
        stage.skip("F", "a CUDA graph needs a CUDA device")
        return
    recorder = Recorder(pipeline.prepare_denoiser)
    error = accuracy.error(accuracy.ours(rig, prepare=recorder))
    for stop in STOPS:
        spec = request(options.side(SIDE), options.steps, stop)
        stage.add("F", rig, partial(own, prepare=recorder), spec, evaluation_error=error)


def _float8(stage: Stage, rig: Rig, accuracy: Accuracy) -> None:
    options = stage.options
    _start(stage, rig, "fast")
    error = accuracy.error(accuracy.ours(rig, "fast"))
    for stop in STOPS:
        for name, profile in (("I", "fast"), ("J", "turbo")):
            spec = request(options.side(SIDE), options.steps, stop, profile)
            stage.add(name, rig, own, spec, evaluation_error=error)


def _static(stage: Stage, rig: Rig, accuracy: Accuracy) -> None:
    """D with graphs for one size. The last of its process, for it forgets all other graphs."""
    options = stage.options
    if stage.late(_COMPILING):
        stage.skip("D-static", "the stage is out of time")
        return
    torch._dynamo.reset()
    for block in rig.pair.blocks():
        block.compile(fullgraph=True, dynamic=False, backend=_backend(options))
    started = time.perf_counter()
    error = accuracy.error(accuracy.ours(rig))
    stage.note("start_static", {"first evaluation": round(time.perf_counter() - started, 3)})
    spec = request(options.side(SIDE), options.steps, STOPS[0])
    stage.add("D-static", rig, own, spec, evaluation_error=error)


def _backend(options: Options) -> str:
    """Inductor on the CPU takes minutes to compile what is only run to prove that it runs."""
    return "inductor" if options.device.type == "cuda" else "eager"
