"""The part `shapes`: A, B and D with the smaller ControlNet; A and D at other sizes."""

from __future__ import annotations

from models.flux.compilation import compile_blocks, compiled_graphs
from tools.gpubench.networks.rig import plain_rig, request
from tools.gpubench.networks.ways import own, shipped, shipped_skipping
from tools.gpubench.options import SIDE
from tools.gpubench.parts.start import STOPS, build, error, reference, start
from tools.gpubench.report.results import Part

_PLAIN_STOP = 0.65
"""What the ControlNet's card recommends at the least."""

_OTHER_SIDES = (512, 768, 1536)


def shapes(part: Part) -> None:
    options = part.options
    rig = build(part)
    small = plain_rig(rig, options.shape)
    spec = request(options.side(SIDE), options.steps, _PLAIN_STOP)
    others = [request(options.side(side), options.steps, STOPS[0]) for side in _OTHER_SIDES]
    accuracy = reference(part, small, spec.width)
    known = error(part, "A", accuracy, lambda made: made.shipped(small))
    part.add("A", small, shipped, spec, **known)
    part.add("B", small, shipped_skipping, spec, **known)
    for other in others:
        part.add("A", rig, shipped, other)
    if not part.wants("D"):
        return
    start(part, rig, "exact", "compile exact")
    compile_blocks(small.pair.controlnet.transformer_blocks, options.backend)
    known = error(part, "D", accuracy, lambda made: made.ours(small))
    part.add("D", small, own, spec, **known)
    for other in others:
        part.add("D", rig, own, other)
    part.note("graphs_at_end", compiled_graphs())
