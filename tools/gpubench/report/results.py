"""Owns the rows of a part: what is measured, what fails and what has no time.

Every row is in the results file before the next one starts, so that an interrupted bench keeps it.
"""

from __future__ import annotations

import json
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from models.spec import GenerationSpec
from tools.gpubench.clock import Clock, OutOfTime
from tools.gpubench.configurations import CONFIGURATIONS
from tools.gpubench.measures.machine import machine
from tools.gpubench.measures.timing import measure
from tools.gpubench.networks.rig import Picture, Rig, control_map
from tools.gpubench.options import SIDE, Options
from tools.gpubench.report import file

Way = Callable[[Rig, GenerationSpec, Any], Picture]


@dataclass(slots=True)
class Part:
    """The results of one process."""

    name: str
    options: Options
    clock: Clock
    figures: dict[str, Any] = field(default_factory=dict)
    failed: bool = False
    _pictures: dict[tuple[object, ...], Picture] = field(default_factory=dict)

    def __post_init__(self) -> None:
        device = self.options.device
        self.figures = {"machine": machine(device), "steps": {}, "measurements": []}
        self._save()

    def wants(self, *names: str) -> bool:
        """Whether one of these configurations is to be measured."""
        return not self.options.only or not self.options.only.isdisjoint(names)

    def note(self, name: str, value: Any) -> None:
        """Keep a figure that belongs to the whole part."""
        print(f"{self.name}: {name}: {value}", flush=True)
        self.figures[name] = value
        self._save()

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """A step of the clock, with its seconds in the results. Raises OutOfTime at its start."""
        expected = self.clock.expects(name)
        started = time.monotonic()
        with self.clock.step(name):
            yield
        self._took(name, expected, time.monotonic() - started)

    @contextmanager
    def attempt(self, name: str) -> Iterator[None]:
        """A block whose error is recorded under `name`; the part continues, because time on a
        GPU machine is expensive."""
        try:
            yield
        except OutOfTime as reason:
            self.skip(name, f"out of time: {reason}")
        except Exception as error:  # noqa: BLE001  # noted; the part ends as failed
            traceback.print_exc()
            self.failed = True
            self.keep({"id": name, "failed": f"{type(error).__name__}: {error}"[:400]})

    def add(self, name: str, rig: Rig, way: Way, spec: GenerationSpec, **known: Any) -> None:
        """Measure configuration `name` if it is wanted; `known` joins its figures."""
        if self.wants(name):
            with self.attempt(name):
                self._add(name, rig, way, spec, known)

    def _add(
        self, name: str, rig: Rig, way: Way, spec: GenerationSpec, known: dict[str, Any]
    ) -> None:
        options, step = self.options, f"picture {name}"
        size = (spec.width / options.side(SIDE)) ** 2
        expected = self.clock.expects(step)
        self.clock.require(step, (options.warm_ups + 1) * size)
        control = control_map(spec.width)
        figures, picture = measure(
            lambda: way(rig, spec, control),
            options.device,
            options.runs,
            options.warm_ups,
            self.clock.fits,
        )
        self.clock.record(step, figures["seconds"] / size)
        self._took(step, expected * size, figures["seconds"])
        self.failed |= "degenerate" in figures
        group = rig.controlnet, spec.width, spec.stop
        of_a = self._pictures.setdefault(group, picture)
        levels = abs(picture.astype(int) - of_a.astype(int))
        self.keep(
            {
                "id": name,
                "configuration": CONFIGURATIONS[name],
                "controlnet": rig.controlnet,
                "side": spec.width,
                "steps": spec.steps,
                "stop": spec.stop,
            }
            | figures
            | {"levels_from_a": round(float(levels.mean()), 4)}
            | known
        )

    def skip(self, name: str, reason: str) -> None:
        self.keep({"id": name, "skipped": reason})

    def keep(self, entry: dict[str, Any]) -> None:
        """Add a row to the results."""
        self.figures["measurements"].append(entry)
        set_ratios(self.figures["measurements"])
        print(json.dumps({key: entry[key] for key in _SHOWN if key in entry}), flush=True)
        self._save()

    def _took(self, step: str, expected: float, seconds: float) -> None:
        taken = {"expected": round(expected, 2), "seconds": round(seconds, 2)}
        self.figures["steps"][step] = taken
        print(f"{self.name}: {step}: {taken}, {self.clock.remaining():.0f} s left", flush=True)
        self._save()

    def _save(self) -> None:
        def change(whole: file.Results) -> None:
            whole["tiny"] = self.options.tiny
            whole["parts"][self.name] = self.figures

        file.update(self.options.file, change)


_SHOWN = (
    "id controlnet side stop card_gb seconds ratio_to_a peak_allocated_gb planned_peak_gb "
    "evaluation_error degenerate skipped failed"
).split()


def set_ratios(measurements: Sequence[dict[str, Any]]) -> None:
    """How many times as fast as A each is, where A made the same picture in the same process."""
    group = ("controlnet", "side", "steps", "stop")
    timed = [entry for entry in measurements if "seconds" in entry and "stop" in entry]
    reference = {
        tuple(entry[key] for key in group): entry["seconds"]
        for entry in timed
        if entry["id"] == "A"
    }
    for entry in timed:
        key = tuple(entry[name] for name in group)
        if key in reference:
            entry["ratio_to_a"] = round(reference[key] / entry["seconds"], 3)
