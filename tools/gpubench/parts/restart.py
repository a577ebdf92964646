"""The part `restart`: a second process finds the compiled code that the part `compiled` left."""

from __future__ import annotations

from tools.gpubench.networks.ways import own
from tools.gpubench.parts.start import STOPS, build, picture, start
from tools.gpubench.report.results import Part


def restart(part: Part) -> None:
    """The first request after a warm start, then steady ones."""
    rig = build(part)
    start(part, rig, "exact", "restart exact")
    part.add("D", rig, own, picture(part, STOPS[0]))
