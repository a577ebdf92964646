"""`scripts/bench gpu` on the CPU with tiny networks: each configuration runs and makes its picture.

Its times are not checked.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from models import pipeline
from tools.gpubench.networks import weights
from tools.gpubench.measures.accuracy import check_alive
from tools.gpubench.networks.graphs import Recorder
from tools.gpubench.report.results import set_ratios
from tools.gpubench.networks.rig import control_map, request, union_rig
from tools.gpubench.networks.shapes import FULL, TINY
from tools.gpubench.networks.ways import own

pytestmark = [pytest.mark.tools, pytest.mark.torch]

ROOT = Path(__file__).resolve().parents[3]
OPTIONS = "--device cpu --tiny --steps 2 --runs 1 --warm-ups 0".split()
WITHOUT_PACKAGES = """
import sys
for name in ("controlnet_aux", "cv2", "matplotlib", "pydantic", "redis", "rq", "torchsde"):
    sys.modules[name] = None
from tools.gpubench.__main__ import main
for stage in ("compiled", "shapes"):
    sys.argv = ["gpubench", *sys.argv[1:], "--stage", stage]
    assert main() == 0
"""

Results = dict[str, Any]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """Part 1 as a user runs it, and two stages as on a machine that has little but torch."""
    folder = tmp_path_factory.mktemp("bench")
    options = [*OPTIONS, "--out", str(folder)]
    for command in (["-m", "tools.gpubench", "--part", "1"], ["-c", WITHOUT_PACKAGES]):
        made = [sys.executable, *command, *options]
        subprocess.run(made, cwd=ROOT, check=True, capture_output=True)
    assert (folder / "gpu.png").stat().st_size > 10_000
    read: Results = json.loads((folder / "gpu.json").read_text())
    return read


@pytest.mark.parametrize(
    ("stage", "measured"),
    [
        ("eager", {"A": 2, "A2": 2, "B": 2, "C": 2}),
        ("compiled", {"A": 2, "D": 2, "I": 2, "J": 2, "D-static": 1}),
        ("shapes", {"A": 4, "B": 1, "D": 4}),
    ],
)
def test_every_configuration_is_measured(
    results: Results, stage: str, measured: dict[str, int]
) -> None:
    entries = [entry for entry in results["stages"][stage]["measurements"] if "seconds" in entry]
    names = [entry["id"] for entry in entries]
    assert {name: names.count(name) for name in names} == measured
    for entry in entries:
        figures = (entry["seconds"], entry["ratio_to_a"], entry["levels_from_a"])
        assert all(math.isfinite(figure) for figure in figures)
        # In eight bits, too, it is A's picture but for a few of its 255 levels.
        assert entry["levels_from_a"] < (8 if entry["id"] in ("I", "J") else 2)


def test_a_cuda_graph_is_skipped_on_the_cpu_and_reported(results: Results) -> None:
    (entry,) = [
        entry for entry in results["stages"]["compiled"]["measurements"] if entry["id"] == "F"
    ]
    assert entry["skipped"] == "a CUDA graph needs a CUDA device"


def test_the_evaluation_is_compared_with_float32(results: Results) -> None:
    eager, compiled = (results["stages"][name] for name in ("eager", "compiled"))
    assert eager["evaluation_of_C_equals_A"] is True
    errors = {
        entry["id"]: entry["evaluation_error"]
        for entry in (*eager["measurements"], *compiled["measurements"])
        if "evaluation_error" in entry
    }
    assert 0.001 < errors["A"] < 0.02
    assert errors["C"] == errors["A"]
    assert errors["D"] < 1.1 * errors["A"]
    assert errors["A"] < errors["I"] < 0.1


def test_the_bench_compiles_nothing_after_the_warm_up(results: Results) -> None:
    for stage, last in (("compiled", "start_fast"), ("shapes", "start_exact")):
        figures = results["stages"][stage]
        assert figures["graphs_at_end"] == figures[last]["graphs"]


def test_the_machine_is_named(results: Results) -> None:
    for stage in results["stages"].values():
        assert {"date", "card", "driver", "torch", "cuda", "diffusers"} <= set(stage["machine"])


def test_a_recorded_evaluation_serves_other_requests() -> None:
    """What a CUDA graph would replay, run again: same buffers, other prompt, map and window."""
    rig = union_rig(TINY, torch.device("cpu"))
    recorder = Recorder(pipeline.prepare_denoiser, record=lambda evaluation: evaluation)
    first = request(128, steps=4, stop=0.5)
    second = replace(first, prompt="a dog", seed=3, stop=1.0, guidance=2.0)
    for spec, control in ((first, control_map(128)), (second, control_map(128).rotate(90))):
        recorded = own(rig, spec, control, prepare=recorder)
        assert np.array_equal(recorded, own(rig, spec, control))


def test_the_full_networks_have_flux_parameters() -> None:
    """Of black-forest-labs/FLUX.1-dev and of Shakker-Labs' two Union ControlNets."""
    nowhere = torch.device("meta")
    counts = [
        sum(parameter.numel() for parameter in make(FULL, nowhere).parameters())
        for make in (weights.transformer, weights.union_controlnet, weights.plain_controlnet)
    ]
    assert counts == [11_901_408_320, 3_301_956_608, 2_140_876_800]


@pytest.mark.parametrize("value", [0.0, math.nan, math.inf])
def test_a_degenerate_result_ends_the_bench(value: float) -> None:
    with pytest.raises(SystemExit, match="degenerate"):
        check_alive("result", torch.full((4, 4), value))


def test_a_ratio_needs_an_a_of_the_same_picture() -> None:
    entries: list[Results] = [
        {"id": name, "controlnet": "union-pro", "side": side, "steps": 20, "stop": 0.5} | figures
        for name, side, figures in (
            ("A", 512, {"seconds": 3.0}),
            ("D", 512, {"seconds": 2.0}),
            ("D", 768, {"seconds": 2.0}),
            ("F", 512, {"skipped": "no time"}),
        )
    ]
    set_ratios(entries)
    assert [entry.get("ratio_to_a") for entry in entries] == [1.0, 1.5, None, None]
