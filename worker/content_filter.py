"""Loads the content filter of a finish worker, which scores every finished picture.

Imported only where a filter is configured, because it imports torch.
"""

from __future__ import annotations

import os

from transformers import logging as transformers_log

from app.core.settings import Settings
from models.classifier import Classifier


def load_filter(settings: Settings) -> Classifier:
    """The classifier that CONTENT_FILTER names. Raises CheckpointError."""
    # transformers would load the weights in threads, and a fork copies no threads.
    os.environ["HF_DEACTIVATE_ASYNC_LOAD"] = "1"
    transformers_log.disable_progress_bar()
    transformers_log.set_verbosity_error()  # its tables of unfit tensors; Classifier names them
    return Classifier(settings.content_filter, settings.content_filter_labels)
