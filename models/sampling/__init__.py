"""Samplers and schedules of a rectified flow, by name.

Owns the two registries. It contains only mathematics on tensors and knows no HTTP, no Redis, no
settings and no model. The model is an argument, the function denoise(x, sigma) -> x0.

One picture: sigmas = sigmas_for(...); x = sigmas[0] * initial_noise(...); noise = noise_for(...);
latents = SAMPLERS[name](denoise, x, sigmas, noise=noise, callback=...).
"""

from __future__ import annotations

from torch import Tensor

from models.catalogue import CATALOGUE, NoiseKind, SamplerInfo, info_of
from models.sampling.ancestral import (
    sample_ddpm,
    sample_dpmpp_2s_ancestral,
    sample_dpmpp_2s_ancestral_cfg_pp,
    sample_euler_ancestral,
    sample_euler_ancestral_cfg_pp,
    sample_lcm,
)
from models.sampling.dpm_solver import fast_orders, sample_dpm_adaptive, sample_dpm_fast
from models.sampling.euler import sample_euler
from models.sampling.flow import percent_to_sigma, single
from models.sampling.multistep import (
    sample_deis,
    sample_dpmpp_2m,
    sample_ipndm,
    sample_ipndm_v,
    sample_lms,
)
from models.sampling.noise import BrownianNoise, IndependentNoise, initial_noise, noise_for
from models.sampling.run import Callback, Denoise, Flow, Noise, Sampler
from models.sampling.schedules import SCHEDULES, Schedule, control_active, sigmas_for
from models.sampling.sde import sample_dpmpp_2m_sde, sample_dpmpp_3m_sde, sample_dpmpp_sde
from models.sampling.two_stage import (
    sample_dpm_2,
    sample_dpm_2_ancestral,
    sample_heun,
    sample_heunpp2,
)
from models.sampling.unipc import sample_uni_pc, sample_uni_pc_bh2

# Names that share a function are the same sampler here. In the reference, *_gpu differs in where
# noise is drawn and *_cfg_pp in the use of a negative prompt, which this model does not have.
SAMPLERS: dict[str, Sampler] = {
    "euler": sample_euler,
    "euler_cfg_pp": sample_euler,
    "euler_ancestral": sample_euler_ancestral,
    "euler_ancestral_cfg_pp": sample_euler_ancestral_cfg_pp,
    "heun": sample_heun,
    "heunpp2": sample_heunpp2,
    "dpm_2": sample_dpm_2,
    "dpm_2_ancestral": sample_dpm_2_ancestral,
    "lms": sample_lms,
    "dpm_fast": sample_dpm_fast,
    "dpm_adaptive": sample_dpm_adaptive,
    "dpmpp_2s_ancestral": sample_dpmpp_2s_ancestral,
    "dpmpp_2s_ancestral_cfg_pp": sample_dpmpp_2s_ancestral_cfg_pp,
    "dpmpp_sde": sample_dpmpp_sde,
    "dpmpp_sde_gpu": sample_dpmpp_sde,
    "dpmpp_2m": sample_dpmpp_2m,
    "dpmpp_2m_cfg_pp": sample_dpmpp_2m,
    "dpmpp_2m_sde": sample_dpmpp_2m_sde,
    "dpmpp_2m_sde_gpu": sample_dpmpp_2m_sde,
    "dpmpp_3m_sde": sample_dpmpp_3m_sde,
    "dpmpp_3m_sde_gpu": sample_dpmpp_3m_sde,
    "ddpm": sample_ddpm,
    "lcm": sample_lcm,
    "ipndm": sample_ipndm,
    "ipndm_v": sample_ipndm_v,
    "deis": sample_deis,
    "ddim": sample_euler,
    "uni_pc": sample_uni_pc,
    "uni_pc_bh2": sample_uni_pc_bh2,
}


def steps_of(sampler: str, sigmas: Tensor) -> int:
    """The n of a progress "step k of n": the index of every callback is in range(n).

    A run calls back len(sigmas) - 1 times, except dpm_fast, which has fewer, longer steps, and
    dpm_adaptive, whose number of calls is unknown beforehand and whose index is the finished share
    in n-ths.
    """
    info_of(sampler)
    steps = len(sigmas) - 1
    return len(fast_orders(steps)) if sampler == "dpm_fast" else steps


__all__ = [
    "CATALOGUE",
    "SAMPLERS",
    "SCHEDULES",
    "BrownianNoise",
    "Callback",
    "Denoise",
    "Flow",
    "IndependentNoise",
    "Noise",
    "NoiseKind",
    "Sampler",
    "SamplerInfo",
    "Schedule",
    "control_active",
    "initial_noise",
    "noise_for",
    "percent_to_sigma",
    "sigmas_for",
    "single",
    "steps_of",
]
