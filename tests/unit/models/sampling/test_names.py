"""The registries, the catalogue, the vocabulary of requests and the docs name the same things."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.sampling import CATALOGUE, SAMPLERS, SCHEDULES, sigmas_for, steps_of
from models.spec import SAMPLER_ALIASES, SAMPLER_NAMES, SCHEDULE_NAMES

pytestmark = pytest.mark.torch

DOCS = Path(__file__).parents[4] / "docs" / "samplers.md"


def test_every_name_of_a_request_has_a_sampler_or_schedule() -> None:
    assert list(SAMPLERS) == list(CATALOGUE) == list(SAMPLER_NAMES)
    assert len(SAMPLERS) == 29
    assert list(SCHEDULES) == list(SCHEDULE_NAMES)
    assert set(SAMPLER_ALIASES.values()) <= set(SAMPLERS)


def test_every_name_stands_in_the_docs() -> None:
    rows = [line for line in DOCS.read_text().splitlines() if line.startswith("|")]
    named = {row.split("|")[1].strip().strip("`") for row in rows}
    assert set(SAMPLERS) | set(SCHEDULES) | set(SAMPLER_ALIASES) <= named


def test_the_docs_give_the_facts_of_the_catalogue() -> None:
    rows = [[c.strip() for c in line.split("|")[1:-1]] for line in DOCS.read_text().splitlines()]
    facts = {row[0].strip("`"): row for row in rows if row and row[0].strip("`") in SAMPLERS}
    for name, info in CATALOGUE.items():
        _, family, order, evaluations, noise, *_ = facts[name]
        assert family == info.family
        assert order == ("-" if info.order is None else str(info.order))
        assert evaluations == ("varies" if info.evaluations is None else str(info.evaluations(20)))
        assert noise == info.noise


@pytest.mark.parametrize(
    ("sampler", "schedule", "steps"),
    [("euler", "simple", 20), ("heun", "ddim_uniform", 16), ("dpm_fast", "simple", 6)],
)
def test_progress_steps(sampler: str, schedule: str, steps: int) -> None:
    asked = {"heun": 15, "dpm_fast": 15}.get(sampler, 20)
    assert steps_of(sampler, sigmas_for(schedule, asked, sampler=sampler)) == steps


def test_an_error_about_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"'karas'.*karras"):
        sigmas_for("karas", 20)
    with pytest.raises(ValueError, match=r"'eular'.*euler_ancestral"):
        sigmas_for("karras", 20, sampler="eular")
    with pytest.raises(ValueError, match=r"'eular'.*euler_ancestral"):
        steps_of("eular", sigmas_for("karras", 20))
    with pytest.raises(ValueError, match="at least 1"):
        sigmas_for("karras", 0)
