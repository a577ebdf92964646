"""The names of tensors in LoRA files: layers, formats, and the kinds that are refused. Torch-free.

The names are those that trainers write for FLUX.1: diffusers and PEFT, kohya-ss sd-scripts,
ai-toolkit, XLabs. Only names are read here; converting them is the task of diffusers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_KEY = re.compile(
    r"(?P<layer>.+?)\.(?:"
    r"lora_(?:(?P<down>down)|(?P<up>up))\.weight|"
    r"lora_(?:(?P<a>A)|(?P<b>B))(?:\.default)?\.weight|"
    r"lora\.(?:(?P<old_down>down)|(?P<old_up>up))\.weight|"
    r"(?P<alpha>alpha))"
)
_XLABS = r"(?:diffusion_model\.)?(?:double|single)_blocks\.\d+\.processor\.(?:proj|qkv)_lora[12]?"
_XLABS_KEY = re.compile(rf"(?P<layer>{_XLABS})\.(?:(?P<down>down)|(?P<up>up))\.weight")

DOWN, UP, ALPHA = "down", "up", "alpha"
_PARTS = {"a": DOWN, "b": UP, "old_down": DOWN, "old_up": UP}

_BFL_LAYERS = "double_blocks|single_blocks|img_in|txt_in|time_in|vector_in|guidance_in|final_layer"
_NAMINGS = {
    "kohya": re.compile(
        rf"lora_unet_(?:{_BFL_LAYERS})|lora_te1?_text_model_|text_encoders\.clip_l\.transformer\."
        rf"|diffusion_model\.(?:{_BFL_LAYERS})\.(?:(?!processor\.|lora_[AB]\.).)*$"
    ),
    "kohya with names of diffusers": re.compile(r"lora_transformer_|lora_te1_text_model_"),
    "diffusers": re.compile(r"transformer\.|text_encoder\."),
    # As a transformer of diffusers saves its own LoRA.
    "diffusers without prefix": re.compile(
        r"(?:single_)?transformer_blocks\.|x_embedder\.|context_embedder\.|time_text_embed\."
        r"|norm_out\.|proj_out\."
    ),
    "PEFT": re.compile(r"base_model\.model\."),
    "ai-toolkit": re.compile(
        rf"diffusion_model\.(?:{_BFL_LAYERS})\.(?:.*\.)?(?:lora_[AB]\.|alpha$)"
    ),
    "xlabs": re.compile(_XLABS),
}
"""The prefixes that can stand in one file: a converter drops the keys of every other naming."""

_FORMATS = {
    "kohya with names of diffusers": "kohya",
    "PEFT": "diffusers",
    "diffusers without prefix": "diffusers",
}

_REFUSED = (
    (
        r"\.(?:query|key)_norm\.scale$",
        "is a control LoRA of Black Forest Labs, made for a transformer with more input channels; "
        "use a control type of this server instead",
    ),
    (
        r"\.dora_scale$|\.lora_magnitude_vector\b",
        "is a DoRA, and only plain LoRA is applied; train it again without DoRA",
    ),
    (
        r"\.(?:lokr|hada|oft)_",
        "is a LyCORIS network (LoKr, LoHa or OFT), and only plain LoRA is applied; train it again "
        "as LoRA",
    ),
    (
        r"\.(?:diff|diff_b|set_weight)$",
        "holds full differences of weights beside or instead of LoRA, and those are not applied; "
        "extract it again as plain LoRA",
    ),
    (
        r"^(?:lora_te[23]_|text_encoders\.t5xxl\.|text_encoder_2\.)",
        "adapts the text encoder T5, which is not supported; train it again without T5",
    ),
    (
        r"position_embedding|text_projection",
        "adapts an embedding or projection of CLIP, which is not supported; train it again on the "
        "attention and MLP layers alone",
    ),
    (
        r"\.lora_(?:down|up|[AB])(?:\.default)?\.bias$",
        "holds biases of LoRA matrices, which are not applied; train it again without lora_bias",
    ),
)
"""(pattern of a key, what a file with such a key is), the first that matches any key counts."""


def split_key(name: str) -> tuple[str, str] | None:
    """(layer, part) of a tensor's name, part one of DOWN, UP, ALPHA; None for any other name."""
    match = _KEY.fullmatch(name) or _XLABS_KEY.fullmatch(name)
    if match is None:
        return None
    part = next(group for group, text in match.groupdict().items() if text and group != "layer")
    return match["layer"], _PARTS.get(part, part)


def format_of(names: Iterable[str]) -> str:
    """ "diffusers", "ai-toolkit", "kohya", "xlabs", "bfl-control" or "unknown"."""
    names = list(names)
    if any(re.search(_REFUSED[0][0], name) for name in names):
        return "bfl-control"
    naming = _naming_of(names)
    return "unknown" if naming is None else _FORMATS.get(naming, naming)


def refusal_of(names: Iterable[str]) -> str | None:
    """Why a file with tensors of these names cannot be applied, for example "is a DoRA, ..."; None
    if each name has a meaning and every layer is complete."""
    names = sorted(names)
    for pattern, sentence in _REFUSED:
        if any(re.search(pattern, name) for name in names):
            return sentence
    layers: dict[str, set[str]] = {}
    for name in names:
        key = split_key(name)
        if key is None or not any(naming.match(name) for naming in _NAMINGS.values()):
            return f"has a key of no known meaning: {name[:200]}; it may be made for another model"
        layer, part = key
        layers.setdefault(layer, set()).add(part)
    if not layers:
        return "holds no tensors"
    if _naming_of(names) is None:
        return "mixes the key names of two trainers, so that some keys would be lost"
    for layer, parts in layers.items():
        if not parts >= {DOWN, UP}:
            return f"has only {' and '.join(sorted(parts))} of the layer {layer[:200]}"
    return None


def _naming_of(names: list[str]) -> str | None:
    """The naming that all names follow."""
    if not names:
        return None
    fitting = (name for name, naming in _NAMINGS.items() if all(map(naming.match, names)))
    return next(fitting, None)
