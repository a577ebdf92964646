"""Remaining time: the seconds until a request that is being generated leaves the gpu.

Before its second step the throughput decides. From then on the request's own step time decides, the
more the more steps it covers. Knows neither Redis nor the queue.
"""

from __future__ import annotations

from dataclasses import dataclass

from app.core.queueing.throughput import Throughput
from app.core.requests.record import RequestRecord, Stage, StepTimes
from app.core.requests.work import load_of
from models.evaluations import GpuLoad
from models.spec import CHECKPOINT_NAMES


@dataclass(frozen=True, slots=True)
class RemainingTime:
    """checkpoint, device: of the worker; None if unknown."""

    throughput: Throughput
    checkpoint: str | None = None
    device: str | None = None

    def seconds(self, record: RequestRecord, now: float) -> float | None:
        """Of a PROCESSING request at `now`, in Unix seconds; None if unknown."""
        times, params = record.step_times, record.params
        since: float | None
        if times is not None:
            step, steps, since = times.step, times.steps, times.at
        else:  # no step yet, or a worker of an older version
            step, steps = record.step, record.steps or params.steps * params.samples
            since = record.started_at if not step else None
        load = self._load(record)
        remaining_s = self._after_step(record, load, step, steps)
        if remaining_s is None or since is None:
            return remaining_s
        # What the current step has taken so far; a step that is late ends now.
        next_s = self._after_step(record, load, step + 1, steps) if step < steps else 0.0
        return max(remaining_s - max(0.0, now - since), next_s or 0.0)

    def after_step(self, record: RequestRecord, step: int, steps: int) -> float | None:
        """The same at the end of step `step` of `steps`."""
        return self._after_step(record, self._load(record), step, steps)

    def _after_step(
        self, record: RequestRecord, load: GpuLoad | None, step: int, steps: int
    ) -> float | None:
        if record.stage > Stage.GENERATE:
            return 0.0
        total_s = self._total_s(record, load)
        return None if total_s is None else total_s * (1 - _done(load, step, steps))

    def _load(self, record: RequestRecord) -> GpuLoad | None:
        """None where the shares of its steps are not known."""
        size = record.size
        if size is None or self.checkpoint not in CHECKPOINT_NAMES:
            return None
        return load_of(record.params, size, self.checkpoint)

    def _total_s(self, record: RequestRecord, load: GpuLoad | None) -> float | None:
        """Seconds in the model of the whole request."""
        predicted_s = self.throughput.in_model_s(record.profile, record.best_load, self.device)
        times = record.step_times
        if times is None or (own := _own_total_s(times, load)) is None:
            return predicted_s
        if predicted_s is None:
            return own
        covered = times.step - times.earlier_step
        return (own * covered + predicted_s) / (covered + 1)


def _own_total_s(times: StepTimes, load: GpuLoad | None) -> float | None:
    """From the measured step time; None before the second step."""
    share = _done(load, times.step, times.steps) - _done(load, times.earlier_step, times.steps)
    seconds = times.at - times.earlier_at
    return seconds / share if share > 0 and seconds > 0 else None


def _done(load: GpuLoad | None, step: int, steps: int) -> float:
    """The completed share of the time, 0 to 1."""
    if not steps:
        return 0.0
    return load.done(step, steps) if load is not None else step / steps
