"""Owns GenerationSpec and the names of samplers, schedules, control types and profiles.

Torch-free, so that the API can validate against it. Knows nothing of the wire, files or delivery.
"""

from __future__ import annotations

from dataclasses import dataclass

# The 26 names of the hosted endpoint, in its order, then the three that its graph also knows.
SAMPLER_NAMES: tuple[str, ...] = (
    "euler",
    "euler_cfg_pp",
    "euler_ancestral",
    "euler_ancestral_cfg_pp",
    "heun",
    "heunpp2",
    "dpm_2",
    "dpm_2_ancestral",
    "lms",
    "dpm_fast",
    "dpm_adaptive",
    "dpmpp_2s_ancestral",
    "dpmpp_2s_ancestral_cfg_pp",
    "dpmpp_sde",
    "dpmpp_sde_gpu",
    "dpmpp_2m",
    "dpmpp_2m_cfg_pp",
    "dpmpp_2m_sde",
    "dpmpp_2m_sde_gpu",
    "dpmpp_3m_sde",
    "dpmpp_3m_sde_gpu",
    "ddpm",
    "lcm",
    "ipndm",
    "ipndm_v",
    "deis",
    "ddim",
    "uni_pc",
    "uni_pc_bh2",
)

# The hosted page misspells two names, and clients copy them.
SAMPLER_ALIASES: dict[str, str] = {
    "euler_ancestra": "euler_ancestral",
    "leuler_ancestral_cfg_pp": "euler_ancestral_cfg_pp",
}

SCHEDULE_NAMES: tuple[str, ...] = (
    "normal",
    "karras",
    "exponential",
    "sgm_uniform",
    "simple",
    "ddim_uniform",
    "beta",
)

CONTROL_NAMES: tuple[str, ...] = (
    "depth",
    "canny",
    "pose",
    "tile",
    "blur",
    "gray",
    "lq",
    "softedge",
)

CHECKPOINT_NAMES: tuple[str, ...] = ("demo", "flux-dev-union-pro", "flux-dev-union-pro-2")

PROFILE_NAMES: tuple[str, ...] = ("exact", "fast", "turbo")

SAMPLES_MAX = 4
CONTROLS_MAX = 3
LORAS_MAX = 4
LORA_SCALE_MAX = 2.0
STEPS_MIN = 15
SEED_MAX = 2**63 - 1

CANNY_LOW, CANNY_HIGH = 100, 200
"""Default thresholds of canny, of 0..255."""

DEFAULT_MU = 1.15
"""The default shift of the FLUX sigma table (docs/samplers.md), for every size."""


@dataclass(frozen=True, slots=True)
class Control:
    """One control of a request.

    type: one of CONTROL_NAMES. strength: factor on its ControlNet residuals, 0..2; 0 means that the
    ControlNet does not run for it. start, stop: its window, fractions of the unshifted time, 0..1.
    """

    type: str
    strength: float = 0.45
    start: float = 0.0
    stop: float = 0.5


@dataclass(frozen=True, slots=True)
class Lora:
    """A low-rank adapter of the transformer (Hu et al., arXiv 2106.09685).

    name: of its file, without .safetensors. scale: factor on its change of the weights,
    -LORA_SCALE_MAX..LORA_SCALE_MAX; 0 means that it is not applied. sha256: of the file, hex.
    """

    name: str
    scale: float = 1.0
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class GenerationSpec:
    """One validated request: everything that decides the pixels except the control pictures.

    width, height: the size that is generated, multiples of 16 (geometry.generated_size).
    control, strength, start, stop: the control of a request that has one (see Control).
    controls: 1..CONTROLS_MAX controls, which replace those four; empty where they count.
    canny_low, canny_high: thresholds of the edges in every canny map, 0..255.
    loras: up to LORAS_MAX, applied together.
    seed: of the first picture, 0..SEED_MAX; picture i uses image_seed(seed, i).
    profile: the trade of quality for speed, one of PROFILE_NAMES; exact changes no result.
    """

    prompt: str
    control: str
    width: int
    height: int
    strength: float = 0.45
    stop: float = 0.5
    guidance: float = 3.5
    steps: int = 20
    sampler: str = "euler"
    schedule: str = "simple"
    seed: int = 0
    samples: int = 1
    mu: float = DEFAULT_MU
    profile: str = "exact"
    start: float = 0.0
    controls: tuple[Control, ...] = ()
    canny_low: int = CANNY_LOW
    canny_high: int = CANNY_HIGH
    loras: tuple[Lora, ...] = ()

    @property
    def all_controls(self) -> tuple[Control, ...]:
        """Every control of the request, in order."""
        return self.controls or (Control(self.control, self.strength, self.start, self.stop),)


def image_seed(seed: int, index: int) -> int:
    """The seed of picture `index`: a single request with this seed makes the same picture."""
    return (seed + index) % (SEED_MAX + 1)
