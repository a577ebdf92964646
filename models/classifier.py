"""Wraps an image-classification model of transformers: the probability of given labels.

Runs on the CPU, on the calling thread. Knows nothing of the use of the score.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoModelForImageClassification, pipeline

from models.errors import CheckpointError
from models.load_errors import one_line


class Classifier:
    """model: a folder, or `owner/name` of the Hugging Face hub; `owner/name@revision` pins it.

    Raises CheckpointError when the model cannot be loaded or lacks a tensor or one of the labels.
    """

    def __init__(self, model: str, labels: Sequence[str]) -> None:
        # Workers fork after loading, and a fork copies no thread pool.
        torch.set_num_threads(1)
        name, _, revision = model.partition("@")
        with one_line(f"classifier {model} cannot be loaded"):
            network, report = AutoModelForImageClassification.from_pretrained(
                name,
                revision=revision or None,
                use_safetensors=True,
                ignore_mismatched_sizes=True,  # reported, and refused here with their names
                output_loading_info=True,
            )
            unfit = {*report["missing_keys"], *(name for name, *_ in report["mismatched_keys"])}
            if unfit:  # the library goes on with random weights
                raise ValueError(f"tensor {min(unfit)} is missing or has another shape")
            processor = AutoImageProcessor.from_pretrained(name, revision=revision or None)
            self._pipe = pipeline(
                "image-classification", model=network, image_processor=processor, device="cpu"
            )
        known = list(self._pipe.model.config.id2label.values())
        unknown = [label for label in labels if label not in known]
        if unknown or not labels:
            raise CheckpointError(
                f"classifier {model} has the labels {', '.join(known)} and not {unknown}"
            )
        self._labels, self._known = frozenset(labels), len(known)

    @torch.inference_mode()
    def score(self, picture: Image.Image) -> float:
        """The highest probability, 0..1, of one of the labels."""
        results = self._pipe(picture, top_k=self._known)
        return max(float(item["score"]) for item in results if item["label"] in self._labels)
