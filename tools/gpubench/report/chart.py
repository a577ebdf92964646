"""The bar chart of a results file: seconds by configuration, one panel for each kind of picture."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def draw(results: Path) -> Path:
    """Draw `results` (JSON) beside it as PNG. Raises ImportError without matplotlib, and
    LookupError where no row has a ratio to A."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    whole = json.loads(results.read_text())
    panels = _panels(whole)
    if not panels:
        raise LookupError("no row has a ratio to A")
    rows = sum(len(bars) + 1.5 for bars in panels.values())
    figure, axes = pyplot.subplots(
        len(panels),
        1,
        figsize=(10, 0.32 * rows + 0.6),
        height_ratios=[len(bars) + 0.5 for bars in panels.values()],
        squeeze=False,
        layout="constrained",
    )
    for (title, bars), panel in zip(panels.items(), axes[:, 0], strict=True):
        seconds = [bar["seconds"] for bar in bars]
        names = [f"{bar['configuration']}  {bar['id']}" for bar in bars]
        drawn = panel.barh(names, seconds, color="#4878a8", height=0.7)
        labels = [f"{bar['seconds']:.2f} s   {bar['ratio_to_a']:.2f}x" for bar in bars]
        panel.bar_label(drawn, labels, padding=4, fontsize=8)
        panel.set_title(title, fontsize=9, loc="left")
        panel.set_xlim(0, max(seconds) * 1.25)
        panel.invert_yaxis()
        panel.tick_params(labelsize=8)
        panel.spines[["top", "right"]].set_visible(False)
    figure.suptitle(_heading(whole), fontsize=10)
    path = results.with_suffix(".png")
    figure.savefig(path, dpi=130)
    pyplot.close(figure)
    return path


def _panels(whole: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Title -> bars with a ratio. A that several processes measured is drawn once."""
    panels: dict[str, list[dict[str, Any]]] = {}
    for part in whole["parts"].values():
        for bar in part.get("measurements", ()):
            if "ratio_to_a" not in bar:
                continue
            title = "{controlnet}, {side}x{side}, {steps} steps, cn_stop {stop}".format(**bar)
            panel = panels.setdefault(title, [])
            if bar["id"] not in {other["id"] for other in panel}:
                panel.append(bar)
    return panels


def _heading(whole: dict[str, Any]) -> str:
    cards = {part["machine"]["card"] for part in whole["parts"].values() if "machine" in part}
    made_of = "tiny networks, which say nothing of speed" if whole["tiny"] else "random weights"
    return f"Seconds a picture on {', '.join(sorted(cards))}; {made_of}"
