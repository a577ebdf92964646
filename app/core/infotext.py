"""What made a picture, in the text form that image tools of this field read from the PNG text
`parameters`: the prompt, then one line of `Name: value` pairs.

The format is that of the Stable Diffusion web UI, with the names of its FLUX fork. This text is not
signed; app.core.receipts makes the text that can be verified. Writes no files.
"""

from __future__ import annotations

import json
from typing import Any

from app.core.requests.record import RequestRecord
from app.core.requests.types import GenerationParameters
from models.spec import CANNY_HIGH, CANNY_LOW, Control

# The names that image tools know. A sampler without one keeps its own name.
_SAMPLERS = {
    "euler": "Euler",
    "euler_ancestral": "Euler a",
    "heun": "Heun",
    "lms": "LMS",
    "dpm_2": "DPM2",
    "dpm_2_ancestral": "DPM2 a",
    "dpm_fast": "DPM fast",
    "dpm_adaptive": "DPM adaptive",
    "dpmpp_2s_ancestral": "DPM++ 2S a",
    "dpmpp_sde": "DPM++ SDE",
    "dpmpp_2m": "DPM++ 2M",
    "dpmpp_2m_sde": "DPM++ 2M SDE",
    "dpmpp_3m_sde": "DPM++ 3M SDE",
    "ddim": "DDIM",
    "uni_pc": "UniPC",
    "lcm": "LCM",
    "ddpm": "DDPM",
    "deis": "DEIS",
    "ipndm": "IPNDM",
    "ipndm_v": "IPNDM_V",
}
_SCHEDULES = {
    "normal": "Normal",
    "karras": "Karras",
    "exponential": "Exponential",
    "beta": "Beta",
    "sgm_uniform": "SGM Uniform",
    "simple": "Simple",
    "ddim_uniform": "DDIM",
}

_CANNY = CANNY_LOW, CANNY_HIGH


def infotext(record: RequestRecord, seed: int) -> str:
    """The text for the picture with this seed. `CFG scale` is 1, because a distilled model runs
    without a negative prompt; `Distilled CFG Scale` is the parameter guidance. LoRAs stand in the
    prompt, where these tools read them.
    """
    params = record.params
    values: dict[str, Any] = {
        "Steps": params.steps,
        "Sampler": _SAMPLERS.get(params.sampler, params.sampler),
        "Schedule type": _SCHEDULES[params.scheduler],
        "CFG scale": 1,
        "Distilled CFG Scale": _number(params.guidance),
        "Seed": seed,
        "Size": f"{record.width}x{record.height}",
        "Model": record.provenance and record.provenance.checkpoint,
        **{
            f"ControlNet {index}": _controlnet(params, control)
            for index, control in enumerate(params.all_controls)
        },
    }
    pairs = [f"{name}: {_quoted(value)}" for name, value in values.items() if value is not None]
    loras = (f" <lora:{lora.name}:{_number(lora.scale)}>" for lora in params.loras)
    return f"{params.prompt.strip()}{''.join(loras)}\n{', '.join(pairs)}"


def _controlnet(params: GenerationParameters, control: Control) -> str | None:
    """None when the ControlNet did not run."""
    if not control.strength:
        return None
    thresholds = ""
    if control.type == "canny" and (params.canny_low, params.canny_high) != _CANNY:
        thresholds = f"Threshold A: {params.canny_low}, Threshold B: {params.canny_high}, "
    return (
        f"Module: {control.type}, Weight: {_number(control.strength)}, {thresholds}"
        f"Guidance Start: {_number(control.start)}, Guidance End: {_number(control.stop)}"
    )


def _number(value: float) -> str:
    return repr(float(value)).removesuffix(".0")


def _quoted(value: object) -> str:
    """In quotes where a part of it could be read as the next pair."""
    text = str(value)
    return json.dumps(text, ensure_ascii=False) if set(text) & set(",:\n") else text
