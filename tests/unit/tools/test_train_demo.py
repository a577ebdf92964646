"""The training of the demo: a short run passes all stages, stops, resumes, writes a checkpoint.

The server's loader reads the checkpoint.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from models.checkpoints import load
from models.checkpoints.demo import checkpoint_in
from models.control_types import served_types
from models.pipeline import generate
from models.spec import GenerationSpec
from tests.support.pictures import astronaut
from tools.demotraining.batches import Phase
from tools.demotraining.export import export, trained_in
from tools.demotraining.lessons import Order
from tools.demotraining.stages import SHARES, Run, Scale, refine, train_all
from tools.demotraining.training import Plan, train

pytestmark = [pytest.mark.tools, pytest.mark.torch]


@pytest.fixture(autouse=True)
def _as_many_threads_as_before() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


ORDERS = (Order((64, 64), scenes=16, textures=3, mapped=16),)
PHASES = (Phase(1.0, (("64x64", 4, 1.0),)),)
TINY = Scale((6, 2), 16, ORDERS, PHASES, ORDERS, PHASES)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("run")
    return Run(folder, seed=3, minutes=0.1, device=torch.device("cpu"), scale=TINY)


def test_every_stage_runs_and_the_server_reads_what_came_of_it(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tools.demotraining.previews._STEPS", 2)
    trained = train_all(run)
    for stage in SHARES:
        assert (run.folder / f"{stage}.pt").exists()
        assert (run.folder / f"{stage}-loss.png").exists()
    assert (run.folder / "losses.png").exists()
    assert (run.folder / "control-sheet.png").exists()
    assert (run.folder / "refinement-sheet.png").exists()
    states = [name.clone() for name in trained.controlnet.state_dict().values()]
    assert run.plan("refinement", 1.0).minutes > 0
    assert run.plan("control", 1.0).minutes == 0  # the refinement was built on it
    again = train_all(run)  # nothing is left to do
    after = again.controlnet.state_dict().values()
    assert all(torch.equal(*pair) for pair in zip(states, after, strict=True))
    export(again, tmp_path / "first")
    start = trained_in(tmp_path / "first", run.device)
    frozen = start.vae.state_dict()
    refined = refine(replace(run, folder=tmp_path, minutes=0.03), start, share=1.0)
    assert (tmp_path / "refinement.pt").exists()
    export(refined, tmp_path / "second")
    assert "_name_or_path" not in (tmp_path / "second/controlnet/config.json").read_text()
    again = trained_in(tmp_path / "second", run.device)
    assert all(
        torch.equal(*pair)
        for pair in zip(frozen.values(), again.vae.state_dict().values(), strict=True)
    )
    assert not torch.equal(
        states[0].half().float(), next(iter(again.controlnet.state_dict().values()))
    )
    loaded = load(checkpoint_in(tmp_path / "second"), torch.device("cpu"))
    for control in served_types("demo"):
        spec = GenerationSpec(prompt="a red ball", control=control, width=64, height=64, steps=2)
        made = generate(loaded, spec, astronaut((64, 64)), lambda _step, _steps: None)
        assert made.pictures[0].shape == (64, 64, 3)


class Counted:
    """The loss of a line through noise, which counts its calls and can end a run."""

    def __init__(self, network: nn.Linear, stop_at: int | None) -> None:
        self.calls, self._network, self._stop_at = 0, network, stop_at

    def __call__(self, rng: np.random.Generator, _passed: float) -> torch.Tensor:
        if self.calls == self._stop_at:
            raise KeyboardInterrupt
        self.calls += 1
        seen = torch.from_numpy(rng.standard_normal((4, 2), dtype=np.float32))
        return ((self._network(seen) - seen.sum(dim=1, keepdim=True)) ** 2).mean()


def test_a_stopped_stage_resumes_from_its_saved_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tools.demotraining.training._SAVE_EVERY_S", 0.0)
    plan = Plan("line", minutes=10.0, lr=0.01, seed=1)
    torch.manual_seed(0)
    first = nn.Linear(2, 1)
    with pytest.raises(KeyboardInterrupt):
        train(plan, first, Counted(first, stop_at=5), tmp_path)
    second = nn.Linear(2, 1)
    with pytest.raises(KeyboardInterrupt):
        train(plan, second, Counted(second, stop_at=3), tmp_path)
    kept = torch.load(tmp_path / "line.pt", weights_only=True)
    assert kept["step"] == 8
    assert len(kept["losses"]) == 8
    assert torch.equal(kept["parts"][0]["weight"], second.weight)


def test_a_loss_that_is_no_number_ends_the_run(tmp_path: Path) -> None:
    network = nn.Linear(1, 1)

    def broken(_rng: np.random.Generator, _passed: float) -> torch.Tensor:
        return network(torch.full((1, 1), torch.nan)).sum()

    with pytest.raises(FloatingPointError, match="line"):
        train(Plan("line", minutes=1.0, lr=0.1, seed=1), network, broken, tmp_path)


def test_the_budget_ends_a_stage(tmp_path: Path) -> None:
    network = nn.Linear(2, 1)
    plan = Plan("line", minutes=0.01, lr=0.1, seed=1)
    loss = Counted(network, None)
    train(plan, network, loss, tmp_path)
    calls = loss.calls
    train(plan, network, loss, tmp_path)
    assert loss.calls == calls
    spent = torch.load(tmp_path / "line.pt", weights_only=True)["seconds"]
    train(replace(plan, minutes=(spent + 0.5) / 60), network, loss, tmp_path)
    assert loss.calls > calls
