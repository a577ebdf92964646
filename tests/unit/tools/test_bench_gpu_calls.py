"""The time limits of `scripts/bench gpu`, its results file and its targets; nothing is measured."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tools.gpubench import calls
from tools.gpubench.calls import CALLS, Call, run_call
from tools.gpubench.clock import EXPECTED, Clock, OutOfTime
from tools.gpubench.report import file
from tools.gpubench.report.targets import judged, table

pytestmark = pytest.mark.tools


def test_a_step_that_cannot_end_in_time_is_not_started() -> None:
    clock = Clock(EXPECTED["compile exact"])
    with pytest.raises(OutOfTime, match="compile exact: 80 s expected, 80 s left"):
        clock.require("compile exact")
    clock.require("compile exact", times=0.5)


def test_a_measured_step_replaces_the_estimates_of_its_kind() -> None:
    clock = Clock(1000)
    clock.record("compile exact", 160)
    assert clock.expects("compile exact") == 160
    assert clock.expects("compile fast") == 2 * EXPECTED["compile fast"]
    assert clock.expects("picture A") == EXPECTED["picture A"]


def test_a_fast_machine_does_not_shorten_the_estimates() -> None:
    clock = Clock(1000)
    clock.record("picture A", 0.1)
    assert clock.expects("picture D") == EXPECTED["picture D"]


@pytest.mark.parametrize(("call", "limit"), [(1, 480), (2, 220), (3, 600)])
def test_a_call_ends_within_its_limit(call: int, limit: float) -> None:
    assert CALLS[call].seconds + calls.GRACE < limit
    assert sum(CALLS[call].shares.values()) <= CALLS[call].seconds


def test_a_part_leaves_the_shares_of_later_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands: list[list[str]] = []

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        return subprocess.CompletedProcess(command, returncode=len(commands) - 1)

    monkeypatch.setattr(subprocess, "run", run)
    started = time.time()
    call = Call(100, {"eager": 60, "restart": 30})
    assert not run_call(call, ["--tiny"], tmp_path / "gpu.json", tmp_path)
    ends = [float(command[-1]) - started for command in commands]
    assert ends == pytest.approx([70, 100], abs=5)
    assert [command[-4:-1] for command in commands] == [
        ["--tiny", "--process", "eager"],
        ["--tiny", "--process", "restart"],
    ]


def test_a_part_that_hangs_is_ended_and_the_next_one_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(command: list[str], timeout: float, **_: object) -> subprocess.CompletedProcess[str]:
        if "eager" in command:
            raise subprocess.TimeoutExpired(command, timeout)
        return subprocess.CompletedProcess(command, returncode=0)

    monkeypatch.setattr(subprocess, "run", run)
    results = tmp_path / "gpu.json"
    file.update(results, lambda whole: whole["parts"].update(eager={"measurements": [1]}))
    assert not run_call(Call(90, {"eager": 50, "restart": 40}), [], results, tmp_path)
    assert file.read(results)["parts"]["eager"] == {"measurements": [1], "killed": True}


def test_a_part_without_time_is_not_started(tmp_path: Path) -> None:
    results = tmp_path / "gpu.json"
    assert run_call(Call(9, {"eager": 9}), [], results, tmp_path)
    assert "9 s left" in file.read(results)["parts"]["eager"]["out_of_time"]


def test_the_results_are_whole_while_they_are_written(tmp_path: Path) -> None:
    results = tmp_path / "new" / "gpu.json"
    file.update(results, lambda whole: whole["parts"].update(eager={}))

    def interrupted(whole: file.Results) -> None:
        whole["parts"].clear()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        file.update(results, interrupted)
    assert json.loads(results.read_text())["parts"] == {"eager": {}}


def test_parts_of_several_results_are_collected(tmp_path: Path) -> None:
    into, first, second = (tmp_path / name for name in ("all.json", "1.json", "2.json"))
    for path, name in ((first, "compiled"), (second, "eager")):
        row = _row("D", 0.5, seconds=1.0, ratio_to_a=1.6)
        part = {name: {"measurements": [row]}}
        file.update(path, lambda whole, part=part: whole.update(tiny=True, parts=part))
    file.collect([first, second], into)
    whole = file.read(into)
    assert whole["tiny"] is True
    assert set(whole["parts"]) == {"compiled", "eager"}
    assert whole["targets"][0]["hit"] is True


def _row(name: str, stop: float, **figures: Any) -> dict[str, Any]:
    return {"id": name, "stop": stop, **figures}


def test_targets_are_hit_missed_or_not_measured() -> None:
    parts: dict[str, Any] = {
        "compiled": {
            "floor": {"seconds": {"0.5": 2.0}},
            "measurements": [
                _row("D", 0.5, seconds=2.6, ratio_to_a=1.6),
                _row("D", 1.0, seconds=3.0, ratio_to_a=1.3),
                {"id": "I", "skipped": "out of time"},
            ],
        },
        "restart": {
            "start_exact": {"first request": 3.0},
            "measurements": [_row("D", 0.5, seconds=2.0)],
        },
    }
    rows = judged(parts)
    found = {row["target"]: (row["measured"], row["hit"]) for row in rows}
    assert found == {
        "exact (D) against A, cn_stop 0.5": (1.6, True),
        "exact (D) against A, cn_stop 1.0": (1.3, False),
        "fast (I) against A, cn_stop 0.5": (None, None),
        "fast (I) against A, cn_stop 1.0": (None, None),
        "turbo (J) against A, cn_stop 0.5": (None, None),
        "turbo (J) against A, cn_stop 1.0": (None, None),
        "exact (D) in units of the arithmetic floor, cn_stop 0.5": (1.3, True),
        "exact (D) in units of the arithmetic floor, cn_stop 1.0": (None, None),
        "first request after a warm start in units of a steady one": (1.5, False),
    }
    assert table(rows).splitlines()[1].split() == (
        "MISS exact (D) against A, cn_stop 1.0 >= 1.4 1.3".split()
    )
