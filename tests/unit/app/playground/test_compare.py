"""A comparison: one seed for all cells, few jobs at once, and what ends it early."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.node import evaluate

GRID = {"strengths": [0.3, 0.6], "stops": [0.2, 0.5, 1], "values": {"prompt": "x", "samples": 4}}

RUN = """(async () => {
  const log = { started: 0, running: 0, most: 0, cancelled: 0 };
  class Job extends EventTarget {
    id = "";
    constructor() {
      super();
      this.number = log.started += 1;
      log.most = Math.max(log.most, log.running += 1);
      setTimeout(() => this.go(), 1);
    }
    go() {
      if (data.refused === this.number) return this.end({ status: "FAILED", error: "no credits" });
      this.id = `id${this.number}`;
      this.dispatchEvent(new Event("change"));
      if (data.hangs) return undefined;
      if (data.failed === this.number) return this.end({ status: "FAILED", error: "no person" });
      const result = { images: [{ url: `u${this.number}` }] };
      return this.end({ status: "COMPLETED", error: "", result });
    }
    end(changes) {
      log.running -= 1;
      Object.assign(this, changes).dispatchEvent(new Event("end"));
    }
    cancel() {
      log.cancelled += 1;
    }
  }
  const abort = new AbortController();
  const cells = module.plan(data.grid);
  let states = 0;
  await module.runComparison(cells, {}, {
    startJob: () => new Job(),
    loadPicture: async (url) => {
      if (data.lost === url) throw new Error(url);
      return url;
    },
    onCell: () => {
      states += 1;
      if (data.hangs && states === 4) abort.abort();
    },
    signal: abort.signal,
  });
  return { ...log, cells: cells.map(({ state, error, picture }) => [state, error, picture]) };
})()"""


def run(**behaviour: Any) -> dict[str, Any]:
    result: dict[str, Any] = evaluate("compare.js", RUN, {"grid": GRID, **behaviour})
    return result


def plan(grids: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    cells: list[list[dict[str, Any]]] = evaluate("compare.js", "data.map(module.plan)", grids)
    return cells


def test_all_cells_have_one_seed_one_sample_and_the_loras() -> None:
    loras = [{"name": "ink", "scale": 0.5}]
    for seed in (-1, "-1", None, 0, 652889, str(2**63 - 1)):
        [cells] = plan([{**GRID, "values": {"samples": 4, "seed": seed, "loras": loras}}])
        places = [(cell["row"], cell["column"]) for cell in cells]
        assert places == [(row, column) for row in (0, 1) for column in (0, 1, 2)]
        for cell in cells:
            values = cell["values"]
            assert (values["cn_strength"], values["cn_stop"]) == (cell["strength"], cell["stop"])
            assert (values["samples"], values["loras"]) == (1, loras)
        [used] = {cell["values"]["seed"] for cell in cells}
        assert used == seed if seed not in (-1, "-1", None) else 0 <= used < 2**48


@pytest.mark.parametrize("strengths", [[], [0, 0.1, 0.2, 0.3, 0.4]])
def test_a_side_has_one_to_four_values(strengths: list[float]) -> None:
    attempt = "(() => { try { module.plan(data); } catch (error) { return error.message; } })()"
    assert "1 to 4" in evaluate("compare.js", attempt, {**GRID, "strengths": strengths})


def test_equal_values_are_one_cell() -> None:
    [cells] = plan([{"strengths": [1, 1], "stops": [0.5, 0.5], "values": {}}])
    assert len(cells) == 1


def test_two_jobs_run_at_once() -> None:
    result = run()
    assert (result["started"], result["most"]) == (6, 2)
    assert [cell[0] for cell in result["cells"]] == ["done"] * 6


def test_a_failed_cell_does_not_end_the_others() -> None:
    result = run(failed=2, lost="u3")
    states = [cell[0] for cell in result["cells"]]
    assert states == ["done", "failed", "failed", "done", "done", "done"]
    assert [cell[1] for cell in result["cells"]][1] == "no person"


def test_a_refused_submission_stops_what_was_not_sent() -> None:
    result = run(refused=3)
    assert 3 <= result["started"] <= 4
    states = [cell[0] for cell in result["cells"]]
    assert states[:3] == ["done", "done", "failed"]
    assert states[-2:] == ["stopped"] * 2
    assert result["cells"][-1][1] == "no credits"


def test_cancelling_cancels_what_runs_and_what_waits() -> None:
    result = run(hangs=True)
    assert (result["started"], result["cancelled"]) == (2, 2)
    assert [cell[0] for cell in result["cells"]] == ["cancelled"] * 6
