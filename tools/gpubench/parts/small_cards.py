"""The part `small-cards`: a picture under the memory plan of a smaller card, and its peak."""

from __future__ import annotations

from tools.gpubench.measures.compilation import compilation
from tools.gpubench.measures.memory import free_bytes, plan_of_card, planned
from tools.gpubench.networks.rig import Rig, control_map
from tools.gpubench.networks.small_card import limit_memory, make_room, under_plan
from tools.gpubench.networks.ways import own
from tools.gpubench.options import SIDE
from tools.gpubench.parts.start import STOPS, build, picture
from tools.gpubench.report.results import Part

_CARDS = (48, 24)
"""In GB, from the largest: a plan moves to the host what the one before left on the card."""

_ROWS = {"exact": "D", "fast": "I", "turbo": "J"}


def small_cards(part: Part) -> None:
    rig = build(part)
    for size in _CARDS:
        with part.attempt(f"card of {size} GB"):
            _measure(part, rig, size)


def _measure(part: Part, rig: Rig, size: int) -> None:
    device = part.options.device
    plan = plan_of_card(size, device)
    part.note(f"plan_{size}", str(plan))
    with part.step(f"small card {size}"):
        limit_memory(device, None)
        make_room(rig, plan)
        limit_memory(device, free_bytes(size, device))
        planned_rig = under_plan(rig, plan)
        profile = planned_rig.loaded.networks.profile("exact")
        spec = picture(part, STOPS[0], profile)
        own(planned_rig, spec, control_map(spec.width))
    part.note(f"compilation_{size}", compilation())
    memory = planned(plan.weights, profile, device, SIDE**2)
    part.add(_ROWS[profile], planned_rig, own, spec, card_gb=size, **memory)
