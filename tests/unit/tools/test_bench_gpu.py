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
from tools.gpubench.measures.accuracy import Degenerate, check_alive
from tools.gpubench.measures.floor import floor_seconds, picture_flop
from tools.gpubench.measures.timing import measure
from tools.gpubench.networks import weights
from tools.gpubench.networks.graphs import Recorder
from tools.gpubench.networks.rig import control_map, request, union_rig
from tools.gpubench.networks.shapes import FULL, TINY
from tools.gpubench.networks.ways import own
from tools.gpubench.report.results import set_ratios

pytestmark = [pytest.mark.tools, pytest.mark.torch]

ROOT = Path(__file__).resolve().parents[3]
OPTIONS = "--device cpu --tiny --steps 2 --runs 1 --warm-ups 0".split()
WITHOUT_PACKAGES = """
import sys
import time
for name in (
    "accelerate", "controlnet_aux", "cv2", "httpx2", "importlib_metadata", "matplotlib", "pydantic",
    "peft", "redis", "requests", "rq", "scipy", "torchsde", "torchvision",
):
    sys.modules[name] = None
from tools.gpubench.__main__ import main
options = sys.argv[1:]
for part in ("compiled", "shapes", "smoke", "small-cards", "extras"):
    sys.argv = ["gpubench", *options, "--process", part, str(time.time() + 10_000)]
    assert main() == 0
"""

Results = dict[str, Any]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """A part as a user runs it, and others as on a machine that has little but torch. These share
    a process, so that most blocks are compiled once."""
    folder = tmp_path_factory.mktemp("bench")
    options = [*OPTIONS, "--out", str(folder)]
    for command in (["-m", "tools.gpubench", "--part", "eager"], ["-c", WITHOUT_PACKAGES]):
        made = [sys.executable, *command, *options]
        subprocess.run(made, cwd=ROOT, check=True, capture_output=True)
    assert (folder / "gpu.png").stat().st_size > 10_000
    read: Results = json.loads((folder / "gpu.json").read_text())
    return read


def _measured(results: Results, part: str) -> list[Results]:
    return [entry for entry in results["parts"][part]["measurements"] if "seconds" in entry]


@pytest.mark.parametrize(
    ("part", "measured"),
    [
        ("eager", {"A": 1, "A2": 1, "B": 1, "C": 1}),
        ("compiled", {"A": 2, "D": 2, "I": 2, "J": 2}),
        ("extras", {"A": 1, "D": 1, "D-static": 1}),
        ("shapes", {"A": 4, "B": 1, "D": 4}),
    ],
)
def test_every_configuration_is_measured(
    results: Results, part: str, measured: dict[str, int]
) -> None:
    entries = _measured(results, part)
    names = [entry["id"] for entry in entries]
    assert {name: names.count(name) for name in names} == measured
    for entry in entries:
        figures = (entry["seconds"], entry["ratio_to_a"], entry["levels_from_a"])
        assert all(math.isfinite(figure) for figure in figures)
        # In eight bits, too, it is A's picture but for a few of its 255 levels.
        assert entry["levels_from_a"] < (8 if entry["id"] in ("I", "J") else 2)


def test_what_the_machine_lacks_is_skipped_and_reported(results: Results) -> None:
    reasons = {
        entry["id"]: entry["skipped"]
        for entry in results["parts"]["extras"]["measurements"]
        if "skipped" in entry
    }
    assert reasons == {
        "F": "a CUDA graph needs a CUDA device",
        "I2": "torchao is not installed",
    }


def test_small_cards_run_under_the_product_plan(results: Results) -> None:
    large, small = _measured(results, "small-cards")
    assert (large["id"], large["card_gb"]) == ("D", 48)
    assert (small["id"], small["card_gb"]) == ("I", 24)
    for entry in (large, small):
        assert entry["planned_resident_gb"] < entry["planned_peak_gb"] <= entry["card_gb"]


def test_the_smoke_test_evaluates_each_configuration(results: Results) -> None:
    errors = {
        entry["id"]: entry["evaluation_error"]
        for entry in results["parts"]["smoke"]["measurements"]
    }
    assert errors["our loop"] == errors["as shipped"]
    for name in ("8 bits", "compiled in 8 bits", "weights streamed"):
        assert errors["compiled"] < errors[name] < 0.1


def test_the_evaluation_is_compared_with_float32(results: Results) -> None:
    assert results["parts"]["eager"]["evaluation_of_C_equals_A"] is True
    errors = {
        entry["id"]: entry["evaluation_error"]
        for part in ("eager", "compiled")
        for entry in results["parts"][part]["measurements"]
    }
    assert 0.001 < errors["A"] < 0.02
    assert errors["C"] == errors["A"]
    assert errors["D"] < 1.1 * errors["A"]
    assert errors["A"] < errors["I"] < 0.1


def test_the_bench_compiles_nothing_after_the_warm_up(results: Results) -> None:
    for part, last in (("compiled", "start_fast"), ("shapes", "start_exact")):
        figures = results["parts"][part]
        assert figures["graphs_at_end"] == figures[last]["graphs"]


def test_targets_stand_in_the_results(results: Results) -> None:
    measured = [row for row in results["targets"] if row["measured"] is not None]
    assert len(measured) == 8  # all but the first request after a restart
    assert all(row["hit"] in (True, False) for row in measured)


def test_the_machine_is_named(results: Results) -> None:
    for part in results["parts"].values():
        assert {"date", "card", "driver", "torch", "cuda", "diffusers"} <= set(part["machine"])


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


def test_products_of_an_evaluation_are_counted() -> None:
    """19 + 38 blocks at 1024x1024, 4096 + 512 tokens, extrapolated from shallow networks."""

    def counted(double: int, single: int) -> dict[str, float]:
        shallow = replace(FULL, depth=(double, single), union=(0, 1), t5=TINY.t5, vae=TINY.vae)
        return picture_flop(shallow, side=1024)

    flop = counted(1, 1)
    a_double, a_single = (
        counted(*depth)["transformer"] - flop["transformer"] for depth in ((2, 1), (1, 2))
    )
    transformer = flop["transformer"] + 18 * a_double + 37 * a_single
    assert transformer == pytest.approx(74.38e12, rel=1e-3)


def test_the_floor_counts_encoders_once_and_networks_by_evaluation() -> None:
    flop = {"transformer": 70.0, "controlnet": 20.0, "text encoder": 5.0, "autoencoder": 15.0}
    assert floor_seconds(flop, rate=10.0, evaluations=20, controlled=7) == 156.0


@pytest.mark.parametrize("value", [0.0, math.nan, math.inf])
def test_a_degenerate_evaluation_is_an_error(value: float) -> None:
    with pytest.raises(Degenerate, match="result has standard deviation"):
        check_alive("result", torch.full((4, 4), value))


def test_a_picture_of_one_colour_is_reported() -> None:
    for picture, degenerate in ((np.zeros((8, 8, 3), np.uint8), True), (np.eye(8), False)):
        figures, _ = measure(lambda made=picture: made, torch.device("cpu"), runs=1, warm_ups=0)
        assert ("degenerate" in figures) is degenerate


def test_no_run_starts_that_does_not_fit() -> None:
    picture = np.eye(8)
    figures, _ = measure(lambda: picture, torch.device("cpu"), 5, 0, fits=lambda _seconds: False)
    assert len(figures["runs"]) == 1


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
