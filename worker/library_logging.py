"""Silences start-up noise (deprecation warnings, progress bars) of diffusers and transformers.

Call it before anything imports them.
"""

from __future__ import annotations

import importlib
import logging
import warnings


def silence_libraries() -> None:
    """Errors are still logged."""
    warnings.filterwarnings("ignore", category=FutureWarning)
    warnings.filterwarnings("ignore", category=UserWarning)
    for name in ("diffusers", "transformers"):
        logs = importlib.import_module(name).logging
        logs.disable_progress_bar()
        logs.disable_default_handler()
        logs.enable_propagation()  # our handlers format their lines
        if name == "diffusers":
            logs.set_verbosity_error()
    # The hub logs every retry and every call; our code reports the result of a download.
    importlib.import_module("huggingface_hub").logging.set_verbosity_error()
    for name in ("httpx", "httpx2"):
        logging.getLogger(name).setLevel(logging.WARNING)
