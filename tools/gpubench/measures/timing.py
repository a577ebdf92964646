"""Measures time, memory and host syncs of a function that makes a picture."""

from __future__ import annotations

import gc
import time
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from tools.gpubench.networks.rig import Picture

_GB = 1e9
_KERNELS = 12

Run = Callable[[], Picture]


def measure(
    run: Run,
    device: torch.device,
    runs: int,
    warm_ups: int,
    fits: Callable[[float], bool] = lambda _seconds: True,
) -> tuple[dict[str, Any], Picture]:
    """What is known of `run` after warm_ups and runs, and its picture. Host syncs are counted in
    the last warm-up, so that the counting costs no measured time. No run but the first starts
    whose seconds do not fit."""
    _give_back(device)
    resident = torch.cuda.memory_allocated(device) if device.type == "cuda" else 0
    for _ in range(warm_ups - 1):
        run()
    syncs = host_syncs(run, device) if warm_ups else None
    first, picture = timed(run, device)
    seconds = [first]
    while len(seconds) < runs and fits(seconds[-1]):
        seconds.append(timed(run, device)[0])
    middle = median(seconds)
    figures: dict[str, Any] = {
        "seconds": round(middle, 4),
        "spread": round((max(seconds) - min(seconds)) / middle, 4),
        "runs": [round(each, 4) for each in seconds],
        "host_syncs": syncs,
    }
    if not picture.std() > 0:  # what NaN or zeros decode to, which run faster than numbers
        figures["degenerate"] = "the picture has one colour"
    return figures | _memory(device, resident), picture


def timed(run: Run, device: torch.device) -> tuple[float, Picture]:
    """Seconds from a device at rest to pixels on the host."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    started = time.perf_counter()
    picture = run()
    return time.perf_counter() - started, picture


def host_syncs(run: Run, device: torch.device) -> dict[str, Any] | None:
    """How often the host waited for the device, and from which lines; None without CUDA."""
    if device.type != "cuda":
        run()
        return None
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            run()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    places = Counter(
        f"{'/'.join(Path(each.filename).parts[-2:])}:{each.lineno}"
        for each in caught
        if "called a synchronizing" in str(each.message)
    )
    return {"count": places.total(), "places": dict(places.most_common(8))}


def kernels(evaluate: Callable[[], object], device: torch.device) -> list[dict[str, Any]]:
    """The device's longest kernels in one evaluation; their names tell the attention in use."""
    if device.type != "cuda":
        return []
    evaluate()
    torch.cuda.synchronize(device)
    with profile(activities=[ProfilerActivity.CUDA]) as profiled:
        evaluate()
        torch.cuda.synchronize(device)
    found = [each for each in profiled.key_averages() if each.device_type.name == "CUDA"]
    found.sort(key=lambda each: -each.self_device_time_total)
    return [
        {
            "kernel": each.key[:120],
            "calls": each.count,
            "milliseconds": round(each.self_device_time_total / 1000, 3),
        }
        for each in found[:_KERNELS]
    ]


def _memory(device: torch.device, resident: int) -> dict[str, float | None]:
    if device.type != "cuda":
        return {"resident_gb": None, "peak_allocated_gb": None, "peak_reserved_gb": None}
    return {
        "resident_gb": round(resident / _GB, 2),
        "peak_allocated_gb": round(torch.cuda.max_memory_allocated(device) / _GB, 2),
        "peak_reserved_gb": round(torch.cuda.max_memory_reserved(device) / _GB, 2),
    }


def _give_back(device: torch.device) -> None:
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
