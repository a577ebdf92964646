"""Maps a module to the tests that should notice a fault in it.

These are the module's own test file by its path (app/core/x.py -> tests/unit/app/core/test_x.py)
and the files in MORE_TESTS for it or its folder. If there are none, the unit tests that import it;
if there are none of these, the own tests of the modules that import it.
"""

from __future__ import annotations

from pathlib import Path

from tools.mutation.imports import imports, module_name

UNIT = "tests/unit"
PACKAGES = ("app", "models", "worker")

_CORE = f"{UNIT}/app/core"
_MODELS = f"{UNIT}/models"
_WORKER = f"{UNIT}/worker"
_STORE = f"{_CORE}/requests/test_store.py"
_LEDGER = f"{_CORE}/accounts/test_credits.py"
_STATES = (
    f"{_CORE}/lua/test_transitions.py",
    _STORE,
    _LEDGER,
    *(
        f"{_CORE}/lifecycle/test_{name}.py"
        for name in ("cancellation", "expiry", "recovery", "outbox")
    ),
    *(f"{_CORE}/requests/test_{name}.py" for name in ("reader", "sources")),
)
_QUEUE = (f"{_CORE}/queueing/test_jobs.py", f"{_CORE}/queueing/test_fairness.py", _STORE, _LEDGER)

MORE_TESTS: dict[str, tuple[str, ...]] = {
    "app/core/accounts/credits.py": (_STORE,),
    "app/core/lua/accounts/": (_LEDGER,),
    "app/core/lua/fragments/": (
        *_STATES,
        f"{_CORE}/telemetry/test_counters.py",
        *_QUEUE,
        f"{_CORE}/queueing/test_forecast.py",
    ),
    "app/core/lua/queueing/": (
        *_QUEUE,
        *(
            f"{_CORE}/queueing/test_{name}.py"
            for name in ("forecast", "throughput", "workers", "snapshot")
        ),
        f"{UNIT}/app/api/operations/test_exposition.py",
        f"{UNIT}/app/api/operations/test_ops.py",
    ),
    "app/core/lua/requests/": tuple(
        f"{_CORE}/requests/test_{name}.py"
        for name in ("events", "idempotency", "reader", "sources")
    ),
    "app/core/lua/storage/": (f"{_CORE}/storage/test_uploads.py",),
    "app/core/lua/transitions/": (
        *_STATES,
        f"{_CORE}/telemetry/test_counters.py",
        f"{_CORE}/queueing/test_fairness.py",
        f"{_WORKER}/test_resume_state.py",
    ),
    "app/core/lua/webhooks/": (f"{_CORE}/webhooks/test_deliveries.py",),
    "app/core/lua/worker/": (
        f"{_CORE}/queueing/test_devices.py",
        f"{_WORKER}/test_fair_queue.py",
        f"{_WORKER}/test_lease.py",
        f"{_WORKER}/test_meter.py",
    ),
    "app/core/queueing/jobs.py": (f"{_CORE}/queueing/test_fairness.py",),
    "app/core/requests/store.py": _STATES,
    "app/core/requests/sources.py": (_STORE,),
    "app/core/telemetry/counters.py": (_STORE,),
    "models/denoiser.py": (
        f"{_MODELS}/sampling/test_control_window.py",
        "tests/golden/test_golden_control_window.py",
        f"{_MODELS}/test_pipeline.py",
        f"{_MODELS}/test_shipped_pipeline.py",
    ),
    "models/flux/": (
        f"{_MODELS}/flux/test_networks.py",
        f"{_MODELS}/test_pipeline.py",
        f"{_MODELS}/test_shipped_pipeline.py",
        f"{_MODELS}/test_profiles.py",
    ),
    "models/pipeline.py": (
        f"{_MODELS}/test_samples.py",
        f"{_MODELS}/test_evaluation_log.py",
        f"{_MODELS}/test_profiles.py",
        f"{_MODELS}/test_shipped_pipeline.py",
    ),
    "models/sampling/schedules.py": ("tests/golden/test_golden_schedules.py",),
    "models/sampling/": (
        f"{_MODELS}/sampling/test_seeds.py",
        f"{_MODELS}/sampling/test_names.py",
        f"{_MODELS}/sampling/test_control_window.py",
        f"{_MODELS}/sampling/test_failures.py",
        "tests/golden/test_golden_samplers.py",
    ),
    "worker/generate.py": (f"{_WORKER}/test_gpu_worker.py",),
    "worker/stage.py": (f"{_WORKER}/test_completion_notifier.py", f"{_WORKER}/test_progress.py"),
}
"""Tests beside a module's own, for a module or for a folder (with a slash at its end)."""


def mapped_tests(root: Path, path: str) -> tuple[str, ...]:
    """The test files for a module, its own first; () when no test covers it."""
    tests = [mirror] if (root / (mirror := _mirror(path))).is_file() else []
    for place, more in MORE_TESTS.items():
        if place == path or (place.endswith("/") and path.startswith(place)):
            tests += more
    tests = tests or importers(root, path, f"{UNIT}/**/test_*.py")
    if not tests:
        users = [
            user for package in PACKAGES for user in importers(root, path, f"{package}/**/*.py")
        ]
        tests = [mirror for user in users if (root / (mirror := _mirror(user))).is_file()]
    return tuple(dict.fromkeys(tests))


def _mirror(path: str) -> str:
    module = Path(path.removesuffix("/__init__.py")).with_suffix("")
    return f"{UNIT}/{module.parent}/test_{module.name}.py"


def importers(root: Path, path: str, files: str) -> list[str]:
    """The files (a glob) that import a module themselves."""
    module = module_name(path)
    package, _, name = module.rpartition(".")
    return [
        file
        for file in sorted(str(found.relative_to(root)) for found in root.glob(files))
        if any(
            imported.module == module or imported == (package, name)
            for imported in imports(root, file, True)
        )
    ]
