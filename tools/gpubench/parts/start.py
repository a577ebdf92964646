"""What several parts begin with: the networks, the float32 reference, a worker's start."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from torch import Tensor

from models.flux.attention import choose_attention
from models.flux.compilation import compile_blocks
from models.spec import GenerationSpec
from tools.gpubench.measures.accuracy import Accuracy
from tools.gpubench.measures.compilation import cache_mb, compilation
from tools.gpubench.measures.timing import timed
from tools.gpubench.networks.rig import Rig, control_map, request, union_rig
from tools.gpubench.networks.ways import own
from tools.gpubench.options import SIDE
from tools.gpubench.report.results import Part

STOPS = (0.5, 1.0)
_WARM_UP_SIDES = (256, 512, 768, 1024)
"""What worker/model.py makes before a gpu worker takes its first request."""


def build(part: Part) -> Rig:
    with part.step("build"):
        return union_rig(part.options.shape, part.options.device)


def picture(part: Part, stop: float, profile: str = "exact") -> GenerationSpec:
    """The request that most rows measure."""
    options = part.options
    return request(options.side(SIDE), options.steps, stop, profile)


def reference(part: Part, rig: Rig, side: int) -> Accuracy | None:
    """The float32 evaluation, to be made before anything is compiled; None where it fails."""
    with part.attempt("float32 reference"), part.step("float32 reference"):
        return Accuracy(rig, side)
    return None


def start(part: Part, rig: Rig, profile: str, step: str) -> None:
    """Compile a profile's networks, warm up as a gpu worker does and make the first request.

    One picture is made before, so that the seconds are the compiler's and not the libraries'.
    """
    options = part.options
    part.note("attention_chosen", choose_attention(options.device))
    seconds: dict[str, Any] = {"cache_mb_before": cache_mb()}

    def make(name: str, spec: GenerationSpec) -> None:
        one = partial(own, rig, spec, control_map(spec.width))
        seconds[name] = round(timed(one, options.device)[0], 3)

    def short(side: int) -> GenerationSpec:
        return request(options.side(side), 2, 0.25, profile)

    with part.step(step):
        make("eager", short(_WARM_UP_SIDES[0]))
        compile_blocks(rig.loaded.networks.of(profile).blocks(), options.backend)
        for side in _WARM_UP_SIDES:
            make(f"warm-up at {side}", short(side))
    make("first request", picture(part, STOPS[0], profile))
    part.note(f"start_{profile}", seconds | compilation())


def error(
    part: Part, name: str, accuracy: Accuracy | None, evaluate: Callable[[Accuracy], Tensor]
) -> dict[str, float]:
    """The figure of the rows `name`; none where the evaluation or the reference failed."""
    if accuracy is not None:
        with part.attempt(f"evaluation of {name}"):
            return {"evaluation_error": accuracy.error(evaluate(accuracy))}
    return {}
