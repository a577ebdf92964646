"""The part `smoke`: one evaluation of each configuration with tiny networks, in seconds.

It shows what the device refuses before the time goes into networks of full size. A failure is
recorded and ends nothing.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable

from diffusers.models.attention_dispatch import attention_backend as shipped_attention
from torch import Tensor

from models import pipeline
from models.flux.compilation import compile_blocks
from models.flux.float8 import native
from models.flux.profiles import NetworkPair
from tools.gpubench.clock import OutOfTime
from tools.gpubench.measures.accuracy import Accuracy
from tools.gpubench.measures.compilation import compilation
from tools.gpubench.measures.memory import plan_of_card
from tools.gpubench.networks import torchao_float8
from tools.gpubench.networks.graphs import Recorder
from tools.gpubench.networks.rig import Rig, union_rig
from tools.gpubench.networks.shapes import TINY
from tools.gpubench.networks.small_card import make_room, under_plan
from tools.gpubench.report.results import Part

_SIDE = 128
_SMALL_CARD = 16


def smoke(part: Part) -> None:
    device = part.options.device
    part.note("float8_native", native(device))
    rig = union_rig(TINY, device)
    accuracy = Accuracy(rig, _SIDE)
    for name, step, evaluate in _checks(part, rig, accuracy):
        _check(part, accuracy, name, step, evaluate)
    part.note("compilation", compilation())


def _check(
    part: Part, accuracy: Accuracy, name: str, step: str, evaluate: Callable[[], Tensor]
) -> None:
    try:
        part.clock.require(step)
        started = time.perf_counter()
        error = accuracy.error(evaluate())
        seconds = round(time.perf_counter() - started, 3)
        part.keep({"id": name, "seconds": seconds, "evaluation_error": error})
    except OutOfTime as reason:
        part.skip(name, f"out of time: {reason}")
    except Exception as failure:  # noqa: BLE001  # noted; the part ends as failed
        traceback.print_exc()
        part.failed = True
        part.keep({"id": name, "failed": f"{type(failure).__name__}: {failure}"[:400]})


def _checks(
    part: Part, rig: Rig, accuracy: Accuracy
) -> list[tuple[str, str, Callable[[], Tensor]]]:
    """Name, step of the clock, evaluation; in the order in which they leave the rig usable."""

    def flash() -> Tensor:
        with shipped_attention("_native_flash"):
            return accuracy.shipped(rig)

    def compile_half(pair: NetworkPair) -> None:
        # Two of the four graphs: the ControlNet's blocks are of the same classes.
        network = pair.transformer
        blocks = *network.transformer_blocks, *network.single_transformer_blocks
        compile_blocks(blocks, part.options.backend)

    def compiled(profile: str) -> Tensor:
        compile_half(rig.loaded.networks.of(profile))
        return accuracy.ours(rig, profile)

    def torchao() -> Tensor:
        pair = torchao_float8.in_torchao_float8(rig.pair)
        compile_half(pair)
        return accuracy.ours(rig.with_pair(pair))

    def streamed() -> Tensor:
        plan = plan_of_card(_SMALL_CARD, part.options.device)
        make_room(rig, plan)
        small = under_plan(rig, plan)
        return accuracy.ours(small, small.loaded.networks.profile("exact"))

    checks: list[tuple[str, str, Callable[[], Tensor]]] = [
        ("as shipped", "smoke eager", lambda: accuracy.shipped(rig)),
        ("flash-attention 2", "smoke eager", flash),
        ("our loop", "smoke eager", lambda: accuracy.ours(rig)),
        ("8 bits", "smoke eager", lambda: accuracy.ours(rig, "fast")),
        ("compiled", "smoke compiled", lambda: compiled("exact")),
        ("compiled in 8 bits", "smoke compiled", lambda: compiled("fast")),
    ]
    if part.options.device.type == "cuda":
        recorder = Recorder(pipeline.prepare_denoiser)
        graph = "CUDA graph", "smoke eager", lambda: accuracy.ours(rig, prepare=recorder)
        checks.append(graph)
    if torchao_float8.available():
        checks.append(("torchao", "smoke compiled", torchao))
    checks.append(("weights streamed", "smoke streamed", streamed))
    return checks
