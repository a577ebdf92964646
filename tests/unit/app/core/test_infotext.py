"""The text for image tools, as a reader of its format parses it."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import pytest

from app.core.infotext import infotext
from app.core.requests.record import RequestRecord, Status
from app.core.requests.types import GenerationParameters, Provenance, Source
from models.spec import SAMPLER_NAMES, SCHEDULE_NAMES, Lora

PARAMS = GenerationParameters(
    prompt="a lighthouse",
    cn_type="depth",
    cn_strength=0.7,
    cn_stop=0.6,
    guidance=4.0,
    steps=17,
    sampler="dpmpp_2m",
    scheduler="sgm_uniform",
)
# As readers split the last line: pairs whose values are in quotes or hold no comma.
PAIR = re.compile(r'\s*([\w ]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)')


def record(**params: Any) -> RequestRecord:
    return RequestRecord(
        id="0" * 32,
        owner="a",
        status=Status.PROCESSING,
        params=replace(PARAMS, **params),
        source=Source(),
        created_at=0.0,
        expires_at=0.0,
        width=100,
        height=60,
        provenance=Provenance(checkpoint="demo"),
    )


def read(text: str) -> tuple[str, dict[str, str]]:
    """The prompt and the pairs of the last line."""
    *prompt, last = text.split("\n")
    return "\n".join(prompt), dict(PAIR.findall(last))


def test_the_prompt_comes_first_and_the_last_line_has_the_parameters() -> None:
    text = infotext(record(), seed=9)
    assert text == (
        "a lighthouse\n"
        "Steps: 17, Sampler: DPM++ 2M, Schedule type: SGM Uniform, CFG scale: 1, "
        "Distilled CFG Scale: 4, Seed: 9, Size: 100x60, Model: demo, ControlNet 0: "
        '"Module: depth, Weight: 0.7, Guidance Start: 0, Guidance End: 0.6"'
    )
    prompt, pairs = read(text)
    assert (prompt, pairs["Seed"], pairs["Size"]) == ("a lighthouse", "9", "100x60")
    assert json.loads(pairs["ControlNet 0"]).endswith("Guidance End: 0.6")


def test_a_prompt_of_several_lines_in_any_script_is_kept() -> None:
    prompt, pairs = read(infotext(record(prompt="灯台, évening\nSteps: 3\n"), seed=1))
    assert (prompt, pairs["Steps"]) == ("灯台, évening\nSteps: 3", "17")


def test_a_window_that_begins_late_and_other_thresholds_are_named() -> None:
    added = {"cn_start": 0.25, "canny_low": 50, "canny_high": 255}
    _, pairs = read(infotext(record(**added), seed=9))
    assert pairs["ControlNet 0"] == (
        '"Module: depth, Weight: 0.7, Guidance Start: 0.25, Guidance End: 0.6"'
    )
    _, pairs = read(infotext(record(cn_type="canny", **added), seed=9))
    assert pairs["ControlNet 0"] == (
        '"Module: canny, Weight: 0.7, Threshold A: 50, Threshold B: 255, '
        'Guidance Start: 0.25, Guidance End: 0.6"'
    )


def test_a_controlnet_that_did_not_run_is_not_named() -> None:
    assert "ControlNet" not in infotext(record(cn_strength=0.0), seed=1)


@pytest.mark.parametrize("sampler", SAMPLER_NAMES)
def test_every_sampler_has_a_name(sampler: str) -> None:
    assert read(infotext(record(sampler=sampler), seed=1))[1]["Sampler"]


@pytest.mark.parametrize("scheduler", SCHEDULE_NAMES)
def test_every_schedule_has_a_name_that_readers_know(scheduler: str) -> None:
    name = read(infotext(record(scheduler=scheduler), seed=1))[1]["Schedule type"]
    assert name[0].isupper()


def test_loras_stand_in_the_prompt() -> None:
    loras = (Lora("ink v1.0", 0.8, "ab"), Lora("oil", -1.0, "cd"))
    first, _ = infotext(record(prompt=" a lighthouse\n", loras=loras), 5).split("\n")
    assert first == "a lighthouse <lora:ink v1.0:0.8> <lora:oil:-1>"
    assert infotext(record(loras=()), 5) == infotext(record(), 5)
