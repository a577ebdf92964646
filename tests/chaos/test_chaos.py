"""Two of the faults of scripts/chaos; the command runs them all."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from tools.chaos.scenarios import SCENARIOS
from tools.chaos.trial import run

pytestmark = pytest.mark.timeout(600)

_OPERATIONS = Path(__file__).resolve().parents[2] / "docs" / "operations.md"


def test_a_killed_gpu_worker_costs_no_request() -> None:
    outcome = run(SCENARIOS["kill-gpu"], requests=8, seed=7)
    assert outcome.verdict.good, "\n".join([*outcome.verdict.faults, outcome.log])
    assert outcome.standing, "nothing was in hand when it struck"


def test_a_host_that_is_cut_off_costs_no_request(tmp_path: Path) -> None:
    """Also with pictures in a folder, and with no more rights on Redis than the page asks for."""
    scenario = SCENARIOS["cut-host"]
    shape = replace(
        scenario.shape,
        settings={"BLOB_URL": f"file://{tmp_path}/blobs"},
        redis_options=("--user", "default", "on", "nopass", *_rights()),
    )
    outcome = run(replace(scenario, shape=shape), requests=8, seed=7)
    assert outcome.verdict.good, "\n".join([*outcome.verdict.faults, outcome.log])
    assert outcome.standing, "nothing was in hand when it struck"
    assert "permission" not in outcome.log


def _rights() -> list[str]:
    [rules] = re.findall(
        r"^ACL SETUSER flux on >PASSWORD (.*)$", _OPERATIONS.read_text(), re.MULTILINE
    )
    return str(rules).split()
