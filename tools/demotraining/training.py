"""The training loop of every stage: time budget, saved state, averaged weights, loss curve.

Knows no network and no data: a stage supplies parameters and a loss. Step n draws everything from
(seed, n), so a resumed run equals an uninterrupted one.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, cast

import matplotlib
import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from tools.demotraining.optimizers import optimizers_of

matplotlib.use("agg")
from matplotlib import pyplot as plt

_SAVE_EVERY_S = 120.0
_DRAW_EVERY_S = 600.0
"""Curve and sheet: drawing takes as long as many steps."""

_AVERAGING_STEPS = 150.0
_WARM_UP = 0.04
_PROBE_EVERY = 60
"""Steps after which the number of threads is chosen again."""


@dataclass(frozen=True, slots=True)
class Plan:
    """name: of the stage and of its files. lr: peak learning rate, reached after a warm-up and left
    along a cosine, over the share of the budget that has passed. seed: of all that is drawn."""

    name: str
    minutes: float
    lr: float
    seed: int
    clip: float = 1.0


@dataclass(slots=True)
class Progress:
    """Where a stage is: its steps, the seconds spent on them, the loss of each."""

    step: int = 0
    seconds: float = 0.0
    losses: list[float] = field(default_factory=list)


Loss = Callable[[np.random.Generator, float], Tensor]
"""(what to draw from, share of the budget passed) -> the loss of one step."""

Network = TypeVar("Network", bound=nn.Module)


def train(
    plan: Plan,
    trained: Network,
    loss: Loss,
    folder: Path,
    sheet: Callable[[Network, Path], None] | None = None,
) -> Network:
    """Train `trained` in place until the budget is spent; the averaged copy of it.

    sheet: draws what the averaged weights can do into a file, every ten minutes and at the end.
    """
    folder.mkdir(parents=True, exist_ok=True)
    averaged = torch.optim.swa_utils.AveragedModel(trained, avg_fn=_average)
    network = cast("Network", averaged.module)  # a copy, of the same class
    optimizers = optimizers_of(trained, plan.lr)
    state = _State(folder / f"{plan.name}.pt", trained, averaged, *optimizers)
    progress = state.load()
    budget, threads = plan.minutes * 60, Threads()
    saved = drawn = time.monotonic()
    with tqdm(
        total=round(budget), initial=round(progress.seconds), desc=plan.name, unit="s"
    ) as bar:
        while progress.seconds < budget:
            started = time.monotonic()
            with threads:
                value = _step(plan, trained, optimizers, loss, progress)
            averaged.update_parameters(trained)
            progress.losses.append(value)
            progress.step += 1
            progress.seconds += time.monotonic() - started
            bar.update(round(min(progress.seconds, budget)) - bar.n)
            bar.set_postfix(step=progress.step, loss=f"{np.mean(progress.losses[-50:]):.4f}")
            if time.monotonic() - saved > _SAVE_EVERY_S:
                state.save(progress)
                saved = time.monotonic()
            if time.monotonic() - drawn > _DRAW_EVERY_S:
                _draw(plan, progress, folder, network, sheet)
                drawn = time.monotonic()
    state.save(progress)
    _draw(plan, progress, folder, network, sheet)
    return network


def _step(
    plan: Plan,
    trained: nn.Module,
    optimizers: list[torch.optim.Optimizer],
    loss: Loss,
    progress: Progress,
) -> float:
    passed = min(1.0, progress.seconds / (plan.minutes * 60))
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = plan.lr * _rate(passed)
    torch.manual_seed(plan.seed * 1_000_003 + progress.step)
    value = loss(np.random.default_rng((plan.seed, progress.step)), passed)
    if not torch.isfinite(value):
        raise FloatingPointError(f"{plan.name}: the loss of step {progress.step} is {value}")
    value.backward()
    torch.nn.utils.clip_grad_norm_(trained.parameters(), plan.clip)
    for optimizer in optimizers:
        optimizer.step()
        optimizer.zero_grad()
    return float(value.detach())


def _rate(passed: float) -> float:
    if passed < _WARM_UP:
        return (passed + 0.002) / (_WARM_UP + 0.002)
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * (passed - _WARM_UP) / (1 - _WARM_UP)))


def _average(average: Tensor, value: Tensor, count: Tensor | int) -> Tensor:
    share = min(1 - 1 / _AVERAGING_STEPS, (1 + int(count)) / (10 + int(count)))
    return average * share + value * (1 - share)


class _State:
    """The saved state of a stage, in one file that is replaced atomically."""

    def __init__(self, path: Path, *parts: Any) -> None:
        self._path, self._parts = path, parts

    def load(self) -> Progress:
        if not self._path.exists():
            return Progress()
        saved = torch.load(self._path, weights_only=True)
        for part, state in zip(self._parts, saved["parts"], strict=True):
            part.load_state_dict(state)
        return Progress(saved["step"], saved["seconds"], saved["losses"])

    def save(self, progress: Progress) -> None:
        draft = self._path.with_suffix(".draft")
        torch.save(
            {
                "parts": [part.state_dict() for part in self._parts],
                "step": progress.step,
                "seconds": progress.seconds,
                "losses": progress.losses,
            },
            draft,
        )
        draft.replace(self._path)


def losses_in(folder: Path, name: str) -> list[float]:
    """The loss of every step of a stage so far."""
    saved = torch.load(folder / f"{name}.pt", weights_only=True)
    losses: list[float] = saved["losses"]
    return losses


def _draw(
    plan: Plan,
    progress: Progress,
    folder: Path,
    averaged: Network,
    sheet: Callable[[Network, Path], None] | None,
) -> None:
    draw_curves({plan.name: progress.losses}, folder / f"{plan.name}-loss.png")
    if sheet is not None:
        with torch.inference_mode():
            sheet(averaged, folder / f"{plan.name}-sheet.png")


def draw_curves(losses: dict[str, list[float]], path: Path) -> None:
    """The losses of stages by name over their steps, each point the mean of some."""
    figure, row = plt.subplots(
        1, len(losses), figsize=(5 * len(losses), 3), layout="constrained", squeeze=False
    )
    for axes, (name, values) in zip(row[0], losses.items(), strict=True):
        width = max(1, len(values) // 300)
        means = np.array(values[: len(values) // width * width]).reshape(-1, width).mean(axis=1)
        axes.plot(np.arange(len(means)) * width, means, linewidth=0.8)
        axes.set(xlabel="step", ylabel="loss", title=name, yscale="log")
    figure.savefig(path, dpi=90)
    plt.close(figure)


class Threads:
    """One thread or all of them, whichever is faster now: two threads that wait for each other on
    a machine with other work are slower than one. A context manager around each step."""

    def __init__(self) -> None:
        self._counts = sorted({1, os.cpu_count() or 1})
        self._times: dict[int, list[float]] = {count: [] for count in self._counts}
        self._chosen, self._step, self._started = self._counts[-1], 0, 0.0

    def __enter__(self) -> None:
        turn = self._step % _PROBE_EVERY
        count = self._counts[turn // 4] if turn < 4 * len(self._counts) else self._chosen
        torch.set_num_threads(count)
        self._current, self._started = count, time.monotonic()

    def __exit__(self, *_exception: object) -> None:
        self._times[self._current].append(time.monotonic() - self._started)
        self._step += 1
        if self._step % _PROBE_EVERY == 4 * len(self._counts):
            # The median of the probe: the first step with another count is slow.
            self._chosen = min(self._counts, key=lambda n: float(np.median(self._times[n][-4:])))
            for times in self._times.values():
                times.clear()
