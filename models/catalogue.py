"""The properties of every sampler besides its code: family, order, cost and kind of noise.

The server uses them for progress, prices and noise, and the docs list them. Imports neither torch
nor the sampler functions, so that schedules, noise and cpu workers can use it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum


class NoiseKind(StrEnum):
    """Where a sampler's random numbers come from."""

    NONE = "none"
    INDEPENDENT = "independent"
    BROWNIAN = "brownian"


def _one_a_step(steps: int) -> int:
    return steps


def _two_a_step(steps: int) -> int:
    return 2 * steps - 1


def _heunpp2(steps: int) -> int:
    return max(1, 3 * steps - 3)


@dataclass(frozen=True)
class SamplerInfo:
    """The properties of one sampler.

    `order` is the measured order of convergence to the flow's ODE down to the last sigma above
    zero (None for a stochastic sampler, which follows no single solution); the last step is
    Euler's everywhere, which holds a whole run to 2 on most schedules. `evaluations` maps the
    steps of a sigma list, len - 1, to model evaluations; None: they depend on the picture.
    `discards_penultimate`: its lists are made for one more step, without the last sigma above 0.
    """

    family: str
    order: int | None
    evaluations: Callable[[int], int] | None
    noise: NoiseKind = NoiseKind.NONE
    discards_penultimate: bool = False

    @property
    def stochastic(self) -> bool:
        return self.noise is not NoiseKind.NONE


_EULER = SamplerInfo("euler", 1, _one_a_step)
_ANCESTRAL = SamplerInfo("ancestral", None, _one_a_step, NoiseKind.INDEPENDENT)
_ANCESTRAL_2S = SamplerInfo("ancestral", None, _two_a_step, NoiseKind.INDEPENDENT)
_SDE_SINGLE = SamplerInfo("sde", None, _two_a_step, NoiseKind.BROWNIAN)
_SDE_MULTI = SamplerInfo("sde", None, _one_a_step, NoiseKind.BROWNIAN)
_MULTISTEP = SamplerInfo("multistep", 2, _one_a_step)
_UNIPC = SamplerInfo("unipc", 3, _one_a_step, discards_penultimate=True)

CATALOGUE: dict[str, SamplerInfo] = {
    "euler": _EULER,
    "euler_cfg_pp": _EULER,
    "euler_ancestral": _ANCESTRAL,
    "euler_ancestral_cfg_pp": _ANCESTRAL,
    "heun": SamplerInfo("two-stage", 2, _two_a_step),
    "heunpp2": SamplerInfo("two-stage", 1, _heunpp2),
    "dpm_2": SamplerInfo("two-stage", 2, _two_a_step, discards_penultimate=True),
    "dpm_2_ancestral": SamplerInfo(
        "ancestral", None, _two_a_step, NoiseKind.INDEPENDENT, discards_penultimate=True
    ),
    "lms": _MULTISTEP,
    "dpm_fast": SamplerInfo("dpm-solver", 3, _one_a_step),
    "dpm_adaptive": SamplerInfo("dpm-solver", 3, None),
    "dpmpp_2s_ancestral": _ANCESTRAL_2S,
    "dpmpp_2s_ancestral_cfg_pp": _ANCESTRAL_2S,
    "dpmpp_sde": _SDE_SINGLE,
    "dpmpp_sde_gpu": _SDE_SINGLE,
    "dpmpp_2m": _MULTISTEP,
    "dpmpp_2m_cfg_pp": _MULTISTEP,
    "dpmpp_2m_sde": _SDE_MULTI,
    "dpmpp_2m_sde_gpu": _SDE_MULTI,
    "dpmpp_3m_sde": _SDE_MULTI,
    "dpmpp_3m_sde_gpu": _SDE_MULTI,
    "ddpm": _ANCESTRAL,
    "lcm": _ANCESTRAL,
    "ipndm": _MULTISTEP,
    "ipndm_v": _MULTISTEP,
    "deis": _MULTISTEP,
    "ddim": _EULER,
    "uni_pc": _UNIPC,
    "uni_pc_bh2": _UNIPC,
}


def info_of(sampler: str) -> SamplerInfo:
    """The properties of a canonical sampler name. Raises ValueError for any other name."""
    if sampler not in CATALOGUE:
        raise ValueError(f"unknown sampler {sampler!r}, one of: {', '.join(CATALOGUE)}")
    return CATALOGUE[sampler]
