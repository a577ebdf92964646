"""The commands that run code of the workers. Only this module of app imports `worker`.

Imports happen inside the functions: an installation with only the extra `api` cannot load `worker`.
Each function raises ValueError with one sentence when a library of the extra `worker` is missing.
"""

from __future__ import annotations

from app.commands.extras import needs_extra
from app.core.findings import Finding
from app.core.settings import Settings


@needs_extra("worker")
def run_worker(kind: str) -> int:
    """Runs the worker process of a queue until it is asked to stop; its exit code."""
    from worker.main import WORKERS

    return WORKERS[kind]()


@needs_extra("worker")
def list_models(settings: Settings) -> int:
    from worker.weights import list_models

    return list_models(settings)


@needs_extra("worker")
def download(settings: Settings, name: str) -> int:
    from worker.weights import download

    return download(settings, name)


@needs_extra("worker")
def examine_model(settings: Settings, hashing: bool) -> list[Finding]:
    """hashing: read the weights and compare their hashes."""
    from worker.doctor import examine_model

    return list(examine_model(settings, hashing))


@needs_extra("worker")
def examine_assumed(settings: Settings, card: float, ram: float | None) -> list[Finding]:
    """The memory plans of a machine. card, ram: GB; ram None for this machine's."""
    from worker.doctor import examine_assumed

    return list(examine_assumed(settings, card, ram))
