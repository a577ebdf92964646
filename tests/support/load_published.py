"""`python -m tests.support.load_published`: the product's loader on the published layout.

Loads FLUX.1-dev with each ControlNet from the hub's cache of the environment, and prints a line of
JSON about each. A process of its own, because its peak of memory is measured.
"""

from __future__ import annotations

import dataclasses
import json
import resource
import sys

import torch
from controlnet_aux.midas import MidasDetector
from torch import Tensor, nn

from models.annotators.openpose import BodyDetector
from models.checkpoints import CHECKPOINTS, LoadedCheckpoint, load
from models.checkpoints.checkpoint import Annotator
from tools.stand_in import TinyBody, TinyBodyPose, TinyDepth
from worker.library_logging import silence_libraries


def main() -> None:
    silence_libraries()
    torch.set_num_threads(1)
    for name in ("flux-dev-union-pro", "flux-dev-union-pro-2"):
        checkpoint = dataclasses.replace(CHECKPOINTS[name], annotators=_small_annotators())
        loaded = load(checkpoint, torch.device("cpu"), torch.bfloat16)
        sys.stdout.write(json.dumps(_report(loaded)) + "\n")


def _small_annotators() -> dict[str, Annotator]:
    """The real ones take longer than all else, and have no published layout to prove."""
    own = CHECKPOINTS["flux-dev-union-pro"].annotators
    depth, pose = MidasDetector(TinyDepth()), BodyDetector(TinyBody(TinyBodyPose()))
    return {
        "depth": dataclasses.replace(own["depth"], load=lambda _: depth),
        "pose": dataclasses.replace(own["pose"], load=lambda _: pose),
    }


def _report(loaded: LoadedCheckpoint) -> dict[str, object]:
    pipe = loaded.pipe
    networks: dict[str, nn.Module] = {
        name: part for name, part in pipe.components.items() if isinstance(part, nn.Module)
    }
    unfilled = [
        f"{name}.{tensor_name}"
        for name, network in networks.items()
        for tensor_name, tensor in network.named_parameters(remove_duplicate=False)
        if not _is_filled(tensor)
    ]
    t5 = pipe.text_encoder_2
    words = pipe.tokenizer("a cat", padding="max_length", max_length=77).input_ids
    return {
        "parameters": {
            name: sum(tensor.numel() for tensor in network.parameters())
            for name, network in networks.items()
        },
        "dtypes": sorted(
            {str(tensor.dtype) for network in networks.values() for tensor in network.parameters()}
        ),
        "unfilled": unfilled,
        "on_meta": [
            f"{name}.{buffer_name}"
            for name, network in networks.items()
            for buffer_name, buffer in network.named_buffers()
            if buffer.is_meta
        ],
        "positions": pipe.text_encoder.embeddings.position_ids.flatten().tolist(),
        "t5_is_tied": t5.encoder.embed_tokens.weight is t5.shared.weight,
        "union": bool(pipe.controlnet.union),
        "tokens": [len(pipe.tokenizer), len(pipe.tokenizer_2)],
        "clip_words": words,
        "lengths": [pipe.tokenizer.model_max_length, pipe.tokenizer_2.model_max_length],
        "weights": dict(loaded.weights),
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }


def _is_filled(tensor: Tensor) -> bool:
    """Whether the first and last numbers are the files' zeros. No network starts with these in all
    its tensors, and reading all of them would need 41 GB."""
    if tensor.is_meta:
        return False
    numbers = tensor.detach().reshape(-1)
    return not bool(numbers[:8].any() or numbers[-8:].any())


if __name__ == "__main__":
    main()
