"""What a gpu worker says while it is at work: each step, with a preview where the request asks for
one. Knows the record's claim, not the model.
"""

from __future__ import annotations

import base64

from torch import Tensor

from app.core.images.encode import encode
from app.core.requests.record import RequestRecord
from models.pipeline import OnSeen
from worker.runtime import Runtime
from worker.stage import LostClaim

_QUALITY = 75


class Progress:
    """Of one execution of one request."""

    def __init__(self, context: Runtime, record: RequestRecord, execution: str) -> None:
        self._context, self._record, self._execution = context, record, execution
        self._seen: Tensor | None = None

    @property
    def on_seen(self) -> OnSeen | None:
        """What takes the model's predictions; None where nobody wants to look at them, and where
        nobody may before the content filter has judged the picture."""
        judged = bool(self._context.settings.content_filter)
        return self._see if self._record.params.get("preview") and not judged else None

    def _see(self, denoised: Tensor) -> None:
        self._seen = denoised

    def on_step(self, step: int, steps: int) -> None:
        """Raises LostClaim when the request has ended or another execution holds it."""
        self._context.meter.step()
        requests, request_id = self._context.requests, self._record.id
        if not requests.progress(request_id, self._execution, step, steps, self._picture()):
            raise LostClaim

    def _picture(self) -> str:
        """As a data URI; "" for none."""
        if self._seen is None:
            return ""
        assert self._context.checkpoint is not None
        data = encode(self._context.checkpoint.preview(self._seen), "jpeg", _QUALITY)
        return f"data:image/jpeg;base64,{base64.b64encode(data).decode()}"
