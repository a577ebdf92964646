"""Any image-classification model of transformers as one question: how sure is it that a picture is
one of these labels? On the CPU, on the calling thread.

Knows nothing of why it is asked.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from PIL import Image
from transformers import pipeline

from models.errors import CheckpointError


class Classifier:
    """model: a folder, or `owner/name` of the Hugging Face hub, `owner/name@revision` to pin it.

    Raises CheckpointError when it cannot be loaded or does not know one of the labels.
    """

    def __init__(self, model: str, labels: Sequence[str]) -> None:
        # Its processes are forked; a thread pool made here would be missing over there.
        torch.set_num_threads(1)
        name, _, revision = model.partition("@")
        try:
            self._pipe = pipeline(
                "image-classification",
                model=name,
                revision=revision or None,
                device="cpu",
                model_kwargs={"use_safetensors": True},
            )
        except (OSError, ValueError) as error:
            raise CheckpointError(f"classifier {model} cannot be loaded: {error}") from error
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
        found = self._pipe(picture, top_k=self._known)
        return max(float(each["score"]) for each in found if each["label"] in self._labels)
