"""Reports the progress of a generation: every step, with a preview if the request asks for one.

Knows the request's claim, not the model.
"""

from __future__ import annotations

import base64

from torch import Tensor

from app.core.images.encode import encode
from app.core.requests.record import RequestRecord
from models.pipeline import OnPrediction
from worker.runtime import Runtime
from worker.stage import LostClaim

_QUALITY = 75


class Progress:
    """The progress of one execution of one request."""

    def __init__(self, context: Runtime, record: RequestRecord, execution: str) -> None:
        self._context, self._record, self._execution = context, record, execution
        self._prediction: Tensor | None = None

    @property
    def on_prediction(self) -> OnPrediction | None:
        """The callback for the model's predictions. None when the request wants no preview, and
        when a content filter is configured, because it scores only finished pictures."""
        filtered = bool(self._context.settings.content_filter)
        wanted = self._record.params.preview and not filtered
        return self._keep_prediction if wanted else None

    def _keep_prediction(self, denoised: Tensor) -> None:
        self._prediction = denoised

    def on_step(self, step: int, steps: int) -> None:
        """Raises LostClaim when the request has ended or another execution holds it."""
        self._context.meter.step()
        requests, request_id = self._context.requests, self._record.id
        if not requests.progress(request_id, self._execution, step, steps, self._preview()):
            raise LostClaim

    def _preview(self) -> str:
        """The preview as a data URI; "" for none."""
        if self._prediction is None:
            return ""
        assert self._context.checkpoint is not None
        data = encode(self._context.checkpoint.preview(self._prediction), "jpeg", _QUALITY)
        return f"data:image/jpeg;base64,{base64.b64encode(data).decode()}"
