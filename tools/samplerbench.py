"""Measures error against evaluations for every sampler, on a model with a known optimal denoiser.

Usage: scripts/bench samplers [OUTPUT]   (default docs/samplers.svg; the ending chooses the format)
Prints the numbers and draws them. Needs no GPU and about half a minute on one core.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import matplotlib
import torch
from torch import Tensor

matplotlib.use("Agg")

from matplotlib import pyplot
from matplotlib.axes import Axes

from models.sampling import CATALOGUE, SAMPLERS, sigmas_for
from models.sampling.analytic import GaussianMixture
from models.sampling.unipc import LAST_SIGMA

STEPS = (8, 12, 20, 30, 50, 75, 120)
SCHEDULE = "simple"
PICTURES = 8192
MODEL = GaussianMixture.random(5, components=4, dimensions=16)

Measure = Callable[[str, int], tuple[int, float]]


class Counted:
    """The model, counting its evaluations."""

    def __init__(self, model: GaussianMixture) -> None:
        self.model, self.calls = model, 0

    def __call__(self, x: Tensor, sigma: Tensor) -> Tensor:
        self.calls += 1
        return self.model(x, sigma)


def gaussian(seed: int, *shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def solution_error(name: str, steps: int) -> tuple[int, float]:
    """Evaluations, and the largest error of 8 results against the ODE's solution."""
    model, x = Counted(MODEL), gaussian(1, 8, 16)
    sigmas = sigmas_for(SCHEDULE, steps, sampler=name).double()
    final = SAMPLERS[name](model, x, sigmas)
    if name in ("dpm_fast", "dpm_adaptive"):
        exact = MODEL.exact(x, 1.0, float(sigmas[-2]))
    elif CATALOGUE[name].family == "unipc":
        exact = MODEL.exact(x, 1.0, LAST_SIGMA) / (1 - LAST_SIGMA)
    else:
        exact = MODEL.exact(x)
    return model.calls, float((final - exact).abs().max())


def contrast_error(name: str, steps: int) -> tuple[int, float]:
    """Evaluations, and by how much the results' second moment is off the data's, relatively."""
    model, x = Counted(MODEL.to(torch.float32)), gaussian(2, PICTURES, 16).float()
    generator = torch.Generator().manual_seed(3)

    def noise(sigma: Tensor, sigma_next: Tensor) -> Tensor:  # noqa: ARG001 - the protocol
        return torch.randn(x.shape, generator=generator)

    final = SAMPLERS[name](model, x, sigmas_for(SCHEDULE, steps, sampler=name), noise=noise)
    data = (MODEL.weights[:, None] * (MODEL.means**2 + MODEL.stds**2)).sum(0).mean()
    return model.calls, float((final.double().square().mean() / data - 1).abs())


def groups(stochastic: bool) -> dict[str, str]:
    """One name for each different sampler -> all its names."""
    names: dict[int, list[str]] = {}
    for name, sampler in SAMPLERS.items():
        if CATALOGUE[name].stochastic == stochastic:
            names.setdefault(id(sampler), []).append(name)
    return {same[0]: ", ".join(same) for same in names.values()}


def draw(axes: Axes, stochastic: bool, measure: Measure) -> None:
    colours = matplotlib.colormaps["tab20"]
    markers = "os^vDPX<>*hdp"
    for i, (name, label) in enumerate(groups(stochastic).items()):
        points = [measure(name, steps) for steps in STEPS]
        print(f"{label}:", "  ".join(f"{calls} {error:.1e}" for calls, error in points))
        axes.loglog(
            *zip(*points, strict=True),
            color=colours((2 * i) % 20 + (2 * i) // 20),
            marker=markers[i % len(markers)],
            markersize=4,
            linewidth=1.2,
            label=label,
        )
    axes.set_xlabel("model evaluations")
    axes.grid(True, which="major", linewidth=0.4, alpha=0.6)
    axes.legend(fontsize=7, frameon=False, loc="upper left", bbox_to_anchor=(0, -0.14), ncols=2)


def main(output: Path) -> None:
    torch.set_num_threads(1)
    matplotlib.rcParams["svg.hashsalt"] = "samplers"  # the same picture is the same file
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(12, 6.4))
    draw(left, False, solution_error)
    left.set_title("deterministic: largest error against the ODE's solution", fontsize=10)
    draw(right, True, contrast_error)
    floor = (2 / (PICTURES * 16)) ** 0.5
    right.axhline(floor, color="grey", linestyle=":", linewidth=1)
    right.set_ylim(bottom=floor / 3)
    right.set_title("stochastic: relative error of the results' second moment", fontsize=10)
    figure.suptitle(f"exact denoiser of a Gaussian mixture, schedule {SCHEDULE}, mu 1.15")
    figure.subplots_adjust(left=0.06, right=0.98, top=0.89, bottom=0.33)
    figure.savefig(output, metadata={"Date": None} if output.suffix == ".svg" else None, dpi=100)
    print(f"wrote {output}")


if __name__ == "__main__":
    default = Path(__file__).resolve().parents[1] / "docs" / "samplers.svg"
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else default)
