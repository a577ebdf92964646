"""Reports the progress of a generation: every step, with a preview if the request asks for one.

A step with a preview is reported by a thread of its own, so the sampling loop waits neither for the
device nor for the JPEG file nor for Redis. Knows the request's claim, not the model.
"""

from __future__ import annotations

import base64
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

from torch import Tensor

from app.core.images.encode import encode
from app.core.requests.record import RequestRecord
from models.pipeline import OnPrediction
from worker.runtime import Runtime
from worker.stage import LostClaim

if TYPE_CHECKING:
    from models.preview import PendingPreview

_QUALITY = 75


class Progress:
    """The progress of one execution of one request."""

    def __init__(self, context: Runtime, record: RequestRecord, execution: str) -> None:
        self._context, self._record, self._execution = context, record, execution
        self._preview: PendingPreview | None = None
        self._thread = ThreadPoolExecutor(1, "preview")  # starts with the first preview
        self._reports: deque[Future[None]] = deque()

    @property
    def on_prediction(self) -> OnPrediction | None:
        """The callback for the model's predictions. None when the request wants no preview, and
        when a content filter is configured, because it scores only finished pictures."""
        filtered = bool(self._context.settings.content_filter)
        wanted = self._record.params.preview and not filtered
        return self._start_preview if wanted else None

    def _start_preview(self, denoised: Tensor) -> None:
        assert self._context.checkpoint is not None
        self._preview = self._context.checkpoint.preview(denoised)

    def on_step(self, step: int, steps: int) -> None:
        """Raises LostClaim when the request has ended or another execution holds it. With previews
        it raises what earlier reports raised."""
        self._context.meter.step()
        if self._preview is None:
            self._report(step, steps)
            return
        while self._reports and self._reports[0].done():
            self._reports.popleft().result()
        self._reports.append(self._thread.submit(self._report, step, steps, self._preview))
        self._preview = None

    def finish(self) -> None:
        """Wait for the reports that are still under way. Raises what they raised."""
        while self._reports:
            self._reports.popleft().result()

    def _report(self, step: int, steps: int, preview: PendingPreview | None = None) -> None:
        data_uri = "" if preview is None else _data_uri(preview)
        requests, request_id = self._context.requests, self._record.id
        if not requests.progress(request_id, self._execution, step, steps, data_uri):
            raise LostClaim


def _data_uri(preview: PendingPreview) -> str:
    data = encode(preview.picture(), "jpeg", _QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(data).decode()}"
