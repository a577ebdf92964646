"""Every sampler against the reference's final latents, model evaluations and noise calls."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from golden_files import load
from torch import Tensor

from models.sampling import SAMPLERS, sigmas_for
from models.sampling.analytic import GaussianMixture

DATA = load("samplers_public")
# See README.md: these need a second, unconditional prediction, which the server never has.
LEFT_OUT = ("cfgpp_uncond_zero", "cfgpp_uncond_negative")
RUNS = [run for run in DATA["runs"] if run.get("tag") not in LEFT_OUT]
IDS = ["-".join([r["sampler"], r["scheduler"], str(r["steps"]), r.get("tag", "")]) for r in RUNS]
FLOAT32_FLOOR = 2e-6


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


def assert_same_sigmas(found: list[float], reference: list[float], on_list: set[float]) -> None:
    """Equal bit by bit where they are from the list, to 1e-11 where they are computed."""
    assert len(found) == len(reference)
    assert found == pytest.approx(reference, rel=1e-11, abs=0)
    assert [s for s in reference if s in on_list] == [
        s for s, expected in zip(found, reference, strict=True) if expected in on_list
    ]


@pytest.mark.parametrize("run", RUNS, ids=IDS)
def test_float64_run(run: dict[str, Any]) -> None:
    listed = DATA["sigmas"][run["sigmas"]]
    final, recorder = sample(run, double(listed), torch.float64)
    reference = double(run["final"])
    assert (final - reference).abs().max() <= 1e-7 * reference.abs().max()
    assert len(recorder.model_sigmas) == run["nfe"]
    assert_same_sigmas(recorder.model_sigmas, run["model_sigmas"], set(listed))
    assert len(recorder.noise_sigmas) == run["noise_calls"]
    assert_same_sigmas(sum(recorder.noise_sigmas, []), sum(run["noise_sigmas"], []), set(listed))
    if "model_inputs" in run:
        inputs = torch.stack([x.flatten() for x in recorder.inputs])
        assert torch.allclose(inputs, double(run["model_inputs"]), rtol=0, atol=1e-7)


@pytest.mark.parametrize("run", RUNS, ids=IDS)
def test_float32_run(run: dict[str, Any]) -> None:
    final, _ = sample(run, double(DATA["sigmas"][run["sigmas"]]).float(), torch.float32)
    own = run["f32_max_abs_diff"]
    limit = 1e-4 if own is None else max(3 * own, FLOAT32_FLOOR)
    assert (final - double(run["final"])).abs().max() <= limit


@pytest.mark.parametrize("run", RUNS, ids=IDS)
def test_run_on_our_own_list(run: dict[str, Any]) -> None:
    """The whole way: our float32 list (1.2e-7 from the reference's) and the sampler on it."""
    mu = float(run["sigmas"].split("/")[0].removeprefix("mu"))
    sampler = None if run.get("tag") == "basic_scheduler_sigmas" else run["sampler"]
    sigmas = sigmas_for(run["scheduler"], run["steps"], mu, sampler)
    final, recorder = sample(run, sigmas.double(), torch.float64)
    assert len(recorder.model_sigmas) == run["nfe"]
    # Uneven lists amplify the difference of the lists; most runs agree to 1e-6.
    reference = double(run["final"])
    assert (final - reference).abs().max() <= 2e-4 * reference.abs().max()


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
