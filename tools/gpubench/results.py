"""Owns the results file: the measurements of all stages in one JSON file.

It is written after every measurement, so that an interrupted bench keeps its results.
"""

from __future__ import annotations

import json
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from models.spec import GenerationSpec
from tools.gpubench.machine import machine
from tools.gpubench.measuring import measure
from tools.gpubench.rig import Picture, Rig, control_map
from tools.gpubench.shapes import FULL, TINY, Shape

CONFIGURATIONS = {
    "A": "FluxControlNetPipeline as shipped, eager",
    "A2": "A with flash-attention 2 forced",
    "B": "A without the ControlNet calls that are multiplied by zero",
    "C": "our loop, eager",
    "D": "our loop, blocks compiled, any size",
    "D-static": "our loop, blocks compiled for one size",
    "F": "D, one evaluation as a CUDA graph",
    "I": "D in 8 bits (profile fast)",
    "J": "I with the step cache (profile turbo)",
}

Way = Callable[[Rig, GenerationSpec, Any], Picture]


@dataclass(frozen=True, slots=True)
class Options:
    """seconds: after which a stage begins no other measurement."""

    device: torch.device
    tiny: bool
    steps: int
    runs: int
    warm_ups: int
    seconds: float
    file: Path

    @property
    def shape(self) -> Shape:
        return TINY if self.tiny else FULL

    def side(self, pixels: int) -> int:
        """Of a square picture that is `pixels` wide with the full networks."""
        return pixels // 8 if self.tiny else pixels


@dataclass(slots=True)
class Stage:
    """The results of one process."""

    name: str
    options: Options
    figures: dict[str, Any] = field(default_factory=dict)
    failed: bool = False
    _started: float = field(default_factory=time.monotonic)
    _pictures: dict[tuple[object, ...], Picture] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.figures = {"machine": machine(self.options.device), "measurements": []}

    def note(self, name: str, value: Any) -> None:
        """Keep a figure that belongs to the whole stage."""
        print(f"{self.name}: {name}: {value}", flush=True)
        self.figures[name] = value
        self._save()

    def late(self, seconds: float = 0.0) -> bool:
        """Whether there is no time left for something that takes `seconds` before it measures."""
        return time.monotonic() - self._started + seconds > self.options.seconds

    @contextmanager
    def attempt(self, name: str) -> Iterator[None]:
        """A block whose error is recorded under `name`; the stage continues, because time on a
        GPU machine is expensive. A degenerate result is a SystemExit and ends it all the same."""
        try:
            yield
        except Exception as error:  # noqa: BLE001  # noted; the stage ends as failed
            traceback.print_exc()
            self.failed = True
            self._keep({"id": name, "failed": f"{type(error).__name__}: {error}"[:400]})

    def add(self, name: str, rig: Rig, way: Way, spec: GenerationSpec, **known: Any) -> None:
        """Measure configuration `name`; `known` joins its figures."""
        with self.attempt(name):
            self._add(name, rig, way, spec, known)

    def _add(
        self, name: str, rig: Rig, way: Way, spec: GenerationSpec, known: dict[str, Any]
    ) -> None:
        entry: dict[str, Any] = {
            "id": name,
            "configuration": CONFIGURATIONS[name],
            "controlnet": rig.controlnet,
            "side": spec.width,
            "steps": spec.steps,
            "stop": spec.stop,
        }
        if self.late():
            self._keep(entry | {"skipped": "the stage is out of time"})
            return
        control = control_map(spec.width)
        options = self.options
        figures, picture = measure(
            lambda: way(rig, spec, control), options.device, options.runs, options.warm_ups
        )
        group = rig.controlnet, spec.width, spec.stop
        of_a = self._pictures.setdefault(group, picture)
        levels = abs(picture.astype(int) - of_a.astype(int))
        self._keep(entry | figures | {"levels_from_a": round(float(levels.mean()), 4)} | known)

    def skip(self, name: str, reason: str) -> None:
        self._keep({"id": name, "configuration": CONFIGURATIONS[name], "skipped": reason})

    def _keep(self, entry: dict[str, Any]) -> None:
        self.figures["measurements"].append(entry)
        set_ratios(self.figures["measurements"])
        print(json.dumps({key: entry.get(key) for key in _SHOWN if key in entry}), flush=True)
        self._save()

    def _save(self) -> None:
        path = self.options.file
        path.parent.mkdir(parents=True, exist_ok=True)
        whole = json.loads(path.read_text()) if path.exists() else {"stages": {}}
        whole["tiny"] = self.options.tiny
        whole["stages"][self.name] = self.figures
        path.write_text(json.dumps(whole, indent=2) + "\n")


_SHOWN = ("id", "controlnet", "side", "stop", "seconds", "ratio_to_a", "skipped", "failed")


def set_ratios(measurements: Sequence[dict[str, Any]]) -> None:
    """How many times as fast as A each is, where A made the same picture in the same process."""
    group = ("controlnet", "side", "steps", "stop")
    timed = [entry for entry in measurements if "seconds" in entry]
    reference = {
        tuple(entry[key] for key in group): entry["seconds"]
        for entry in timed
        if entry["id"] == "A"
    }
    for entry in timed:
        key = tuple(entry[name] for name in group)
        if key in reference:
            entry["ratio_to_a"] = round(reference[key] / entry["seconds"], 3)
