"""Checks all files that a pipeline is made of: the index, the networks' and the scheduler's.

Every fault is a ValueError or OSError of one line.
"""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import AutoencoderKL, FluxControlNetModel, FluxTransformer2DModel
from transformers import CLIPTextModel, T5EncoderModel

from models.checkpoints.validation.tensor_check import NetworkFiles
from models.checkpoints.validation.tensor_files import read_json

_BASE_NETWORKS = {
    "text_encoder": CLIPTextModel,
    "text_encoder_2": T5EncoderModel,
    "transformer": FluxTransformer2DModel,
    "vae": AutoencoderKL,
}


def check_pipeline(base: Path, controlnet: Path, dtype: torch.dtype) -> None:
    """base: folder of a FluxPipeline. controlnet: folder of a FluxControlNetModel.

    Takes a second and reads no weights, so a fault shows before 40 GB are read.
    """
    index_file = base / "model_index.json"
    index = read_json(index_file)
    for name, network_class in _BASE_NETWORKS.items():
        if list(index.get(name) or ())[-1:] != [network_class.__name__]:
            raise ValueError(
                f"{index_file}: {name} is {index.get(name)} and no {network_class.__name__}"
            )
        NetworkFiles(network_class, base / name).check(dtype)
    read_json(base / "scheduler" / "scheduler_config.json")
    NetworkFiles(FluxControlNetModel, controlnet).check(dtype)
