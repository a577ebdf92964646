"""The manners of the model libraries: they greet every start with pages of deprecation notes and
progress bars. To be called before anything imports them.
"""

from __future__ import annotations

import importlib
import logging
import warnings


def silence_libraries() -> None:
    """Errors still speak."""
    warnings.filterwarnings("ignore", category=FutureWarning)
    warnings.filterwarnings("ignore", category=UserWarning)
    for name in ("diffusers", "transformers"):
        logs = importlib.import_module(name).logging
        logs.disable_progress_bar()
        logs.disable_default_handler()
        logs.enable_propagation()  # their lines look like all others
        if name == "diffusers":
            logs.set_verbosity_error()
    # The hub tells of each try, and of each call; what comes of them is told by whoever asked.
    importlib.import_module("huggingface_hub").logging.set_verbosity_error()
    for name in ("httpx", "httpx2"):
        logging.getLogger(name).setLevel(logging.WARNING)
