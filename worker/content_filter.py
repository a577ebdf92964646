"""The content filter of a cpu worker: a classifier loaded once, before the first fork, and asked by
the work horses about each finished picture. Only imported where one is configured, for it brings
torch along.
"""

from __future__ import annotations

import os

from transformers import logging as transformers_log

from app.core.settings import Settings
from models.classifier import Classifier


def load_filter(settings: Settings) -> Classifier:
    """The classifier that CONTENT_FILTER names. Raises CheckpointError."""
    # transformers would read the weights in threads, which a fork does not take along.
    os.environ["HF_DEACTIVATE_ASYNC_LOAD"] = "1"
    transformers_log.disable_progress_bar()
    return Classifier(settings.content_filter, settings.content_filter_labels)
