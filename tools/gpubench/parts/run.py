"""Runs one part in this process."""

from __future__ import annotations

from collections.abc import Callable

from tools.gpubench.clock import Clock, OutOfTime
from tools.gpubench.options import Options
from tools.gpubench.parts.compiled import compiled
from tools.gpubench.parts.eager import eager
from tools.gpubench.parts.extras import extras
from tools.gpubench.parts.restart import restart
from tools.gpubench.parts.shapes import shapes
from tools.gpubench.parts.small_cards import small_cards
from tools.gpubench.parts.smoke import smoke
from tools.gpubench.report.results import Part

_PARTS: dict[str, Callable[[Part], None]] = {
    "smoke": smoke,
    "compiled": compiled,
    "restart": restart,
    "eager": eager,
    "small-cards": small_cards,
    "extras": extras,
    "shapes": shapes,
}


def run(name: str, options: Options) -> bool:
    """Run a part; whether nothing in it failed. What has no time is no failure."""
    part = Part(name, options, Clock(options.seconds))
    try:
        _PARTS[name](part)
    except OutOfTime as reason:
        part.note("out_of_time", str(reason))
    return not part.failed
