"""Every sampler against the reference's final latents, model evaluations and noise calls."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor

from models.sampling import CATALOGUE, SAMPLERS, SCHEDULES, sigmas_for
from models.sampling.analytic import GaussianMixture
from tests.golden.golden_files import load

DATA = load("samplers_public")
# See README.md: these need a second, unconditional prediction, which the server never has.
LEFT_OUT = ("cfgpp_uncond_zero", "cfgpp_uncond_negative")
RUNS = [run for run in DATA["runs"] if run.get("tag") not in LEFT_OUT]
IDS = ["-".join([r["sampler"], r["scheduler"], str(r["steps"]), r.get("tag", "")]) for r in RUNS]
# Two units in the last place of a float32 between 2 and 4, the size of the largest latents.
FLOAT32_FLOOR = 2 * 2.0**-22


def double(values: Any) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


MIXTURE = GaussianMixture(*(double(DATA["prior"][key]) for key in ("weights", "means", "stds")))
NOISE_BANK = double(DATA["noise_bank"]).reshape(-1, *DATA["latent_shape"])
INITIAL = double(DATA["init_noise"]).reshape(DATA["latent_shape"])


@dataclass
class Recorder:
    """The reference's model and noise, noting what they are asked."""

    inputs: list[Tensor] = field(default_factory=list)
    model_sigmas: list[float] = field(default_factory=list)
    noise_sigmas: list[list[float]] = field(default_factory=list)

    def denoise(self, x: Tensor, sigma: Tensor) -> Tensor:
        assert sigma.shape == ()
        self.inputs.append(x)
        self.model_sigmas.append(sigma.item())
        return MIXTURE(x.double(), sigma.double()).to(x.dtype)

    def noise(self, sigma: Tensor, sigma_next: Tensor) -> Tensor:
        self.noise_sigmas.append([sigma.item(), sigma_next.item()])
        return NOISE_BANK[len(self.noise_sigmas) - 1]


def sample(run: dict[str, Any], sigmas: Tensor, dtype: torch.dtype) -> tuple[Tensor, Recorder]:
    recorder = Recorder()
    x = (sigmas[0] * INITIAL).to(dtype)
    final = SAMPLERS[run["sampler"]](recorder.denoise, x, sigmas, noise=recorder.noise)
    assert final.dtype == dtype
    return final.flatten().double(), recorder


@pytest.mark.parametrize("run", RUNS, ids=IDS)
def test_float64_run(run: dict[str, Any]) -> None:
    listed = DATA["sigmas"][run["sigmas"]]
    final, recorder = sample(run, double(listed), torch.float64)
    reference = double(run["final"])
    assert (final - reference).abs().max() <= 1e-7 * reference.abs().max()
    # Sigmas computed on the way may differ in the last bits, those from the list may not.
    assert len(recorder.model_sigmas) == run["nfe"]
    assert recorder.model_sigmas == pytest.approx(run["model_sigmas"], rel=1e-11, abs=0)
    assert set(run["model_sigmas"]) & set(listed) <= set(recorder.model_sigmas)
    assert len(recorder.noise_sigmas) == run["noise_calls"]
    noise_sigmas = double(recorder.noise_sigmas)
    assert torch.allclose(noise_sigmas, double(run["noise_sigmas"]), rtol=1e-11, atol=0)
    if "model_inputs" in run:
        inputs = torch.stack([x.flatten() for x in recorder.inputs])
        assert torch.allclose(inputs, double(run["model_inputs"]), rtol=0, atol=1e-7)


@pytest.mark.parametrize("run", RUNS, ids=IDS)
def test_float32_run(run: dict[str, Any]) -> None:
    final, _ = sample(run, double(DATA["sigmas"][run["sigmas"]]).float(), torch.float32)
    own = run["f32_max_abs_diff"]
    limit = 1e-4 if own is None else max(3 * own, FLOAT32_FLOOR)
    assert (final - double(run["final"])).abs().max() <= limit


@pytest.mark.parametrize("run", [r for r in RUNS if r.get("tag") != "basic_scheduler_sigmas"])
def test_run_on_our_own_list(run: dict[str, Any]) -> None:
    """The whole way as the server goes it: our list, up to 1.8e-7 from the reference's, sampled."""
    mu = float(run["sigmas"].split("/")[0].removeprefix("mu"))
    sigmas = sigmas_for(run["scheduler"], run["steps"], mu, run["sampler"])
    final, recorder = sample(run, sigmas.double(), torch.float64)
    assert len(recorder.model_sigmas) == run["nfe"]
    reference = double(run["final"])
    assert (final - reference).abs().max() <= 5e-6 * reference.abs().max()


def test_every_run_is_used_but_those_with_a_second_prediction() -> None:
    tags = Counter(run.get("tag") for run in DATA["runs"])
    used = Counter(run.get("tag") for run in RUNS)
    assert used[None] == DATA["n_main_runs"] == 406
    assert tags - used == Counter({tag: 56 for tag in LEFT_OUT})
    assert {run["sampler"] for run in RUNS} == set(SAMPLERS)


@pytest.mark.parametrize(
    ("name", "same_as"),
    [
        ("ddim", "euler"),
        ("euler_cfg_pp", "euler"),
        ("dpmpp_2m_cfg_pp", "dpmpp_2m"),
        ("dpmpp_sde_gpu", "dpmpp_sde"),
        ("dpmpp_2m_sde_gpu", "dpmpp_2m_sde"),
        ("dpmpp_3m_sde_gpu", "dpmpp_3m_sde"),
    ],
)
def test_names_of_one_sampler_share_one_function(name: str, same_as: str) -> None:
    assert SAMPLERS[name] is SAMPLERS[same_as]


# The worst error over the schedules at 75 steps, and at 300, relative to |x| of about 1.
PLAIN_METHODS = {"euler", "ddim", "euler_cfg_pp", "heunpp2", "dpmpp_2m", "dpmpp_2m_cfg_pp"}
DETERMINISTIC = [name for name, info in CATALOGUE.items() if not info.stochastic]


def exact_end(name: str, sigmas: Tensor) -> Tensor:
    """What `name` is meant to return: the flow's own solution where the sampler ends."""
    x, start = sigmas[0] * INITIAL, float(sigmas[0])
    if name in ("dpm_fast", "dpm_adaptive"):
        return MIXTURE.exact(x, start, float(sigmas[-2]))
    if name in ("uni_pc", "uni_pc_bh2"):
        return MIXTURE.exact(x, start, 1e-3) / (1 - 1e-3)
    return MIXTURE.exact(x, start)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("name", DETERMINISTIC)
def test_deterministic_samplers_reach_the_solution(name: str, schedule: str) -> None:
    limits = {75: 7.1e-2 if name in PLAIN_METHODS else 2.5e-2, 300: 1.2e-2}
    for steps, limit in limits.items():
        sigmas = sigmas_for(schedule, steps, sampler=name).double()
        final = SAMPLERS[name](MIXTURE, sigmas[0] * INITIAL, sigmas)
        assert float((final - exact_end(name, sigmas)).abs().max()) < limit


def test_the_exact_solution_agrees_with_the_reference() -> None:
    for end, reference in DATA["ode_reference"]["at"].items():
        solved = MIXTURE.exact(INITIAL, 1.0, float(end)).flatten()
        assert torch.allclose(solved, double(reference), rtol=0, atol=1e-8)
