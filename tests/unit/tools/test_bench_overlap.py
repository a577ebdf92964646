"""`scripts/bench overlap`: its processes run, and its figures are defined as named."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tools.overlapbench.__main__ import MODEL_S, figures_of

pytestmark = pytest.mark.tools

ROOT = Path(__file__).resolve().parents[3]


def test_pictures_go_all_the_way_through(tmp_path: Path) -> None:
    output = tmp_path / "overlap.json"
    command = [sys.executable, "-m", "tools.overlapbench", "--pictures", "4", "--json", str(output)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    figures = json.loads(output.read_text())
    assert figures["pictures"] == 4
    assert 0 < figures["busy"] < 1


def test_time_outside_the_model_is_a_gap() -> None:
    marks, now = [], 7.0
    for gap in (0.010, 0.020, 0.030, 0.0):
        marks += [("model called", now), ("model returned", now + MODEL_S + 0.001)]
        now += MODEL_S + gap
        marks.append(("job ended", now - 0.002))
    figures = figures_of(marks)
    assert figures["pictures"] == 4
    assert figures["busy"] == pytest.approx(0.6 / 0.66)
    assert figures["gap_ms"]["median"] == pytest.approx(20)
    assert figures["gap_ms"]["max"] == pytest.approx(30)
    assert figures["spent_ms"] == pytest.approx(
        {"model returned": 1, "job ended": 17, "model called": 2}
    )
