"""What made a picture, in the text form that image tools of this field read from the PNG text
`parameters`: the prompt, then one line of `Name: value` pairs.

The form is that of the Stable Diffusion web UI, with the names its FLUX fork uses. The text is not
signed: what can be verified is app.core.receipts. Knows nothing of files.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from app.core.requests.record import RequestRecord

# Names that readers know; a sampler without one keeps its own.
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


def infotext(record: RequestRecord, seed: int) -> str:
    """Of the picture with this seed. `CFG scale` is 1, for a distilled model runs without a second
    prompt; `Distilled CFG Scale` is the parameter guidance.
    """
    params = record.params
    values: dict[str, Any] = {
        "Steps": params["steps"],
        "Sampler": _SAMPLERS.get(params["sampler"], params["sampler"]),
        "Schedule type": _SCHEDULES[params["scheduler"]],
        "CFG scale": 1,
        "Distilled CFG Scale": _number(params["guidance"]),
        "Seed": seed,
        "Size": f"{record.width}x{record.height}",
        "Model": record.made_with.get("checkpoint"),
        "ControlNet 0": _controlnet(params),
    }
    pairs = [f"{name}: {_quoted(value)}" for name, value in values.items() if value is not None]
    return f"{params['prompt'].strip()}\n{', '.join(pairs)}"


def _controlnet(params: Mapping[str, Any]) -> str | None:
    """None when the ControlNet did not run."""
    if not params["cn_strength"]:
        return None
    module, weight, end = params["cn_type"], params["cn_strength"], params["cn_stop"]
    return (
        f"Module: {module}, Weight: {_number(weight)}, "
        f"Guidance Start: 0, Guidance End: {_number(end)}"
    )


def _number(value: float) -> str:
    return repr(float(value)).removesuffix(".0")


def _quoted(value: object) -> str:
    """In quotes where a reader would take a part of it for the next pair."""
    text = str(value)
    return json.dumps(text, ensure_ascii=False) if set(text) & set(",:\n") else text
