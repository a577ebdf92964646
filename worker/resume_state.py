"""The resume state of a generation in Redis: another worker continues from it if this one dies.

Finished images are the pixel blobs of the request. The model's evaluations for the unfinished image
are blobs of their own. The record lists the valid blobs and is written under the execution's claim,
so a worker that has lost the request adds nothing. Knows no model.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from app.core.redis import keys
from app.core.requests.record import RequestRecord
from app.core.requests.types import SavedWork
from models.evaluation_log import EvaluationLog, GeneratedImage
from models.geometry import generated_size
from worker.runtime import Runtime
from worker.stage import LostClaim


class ResumeState:
    """The models.evaluation_log.ResumeStore of one execution of one request."""

    def __init__(
        self, context: Runtime, record: RequestRecord, execution: str, source: str
    ) -> None:
        """source: what evaluations depend on besides the request (version, checkpoint, profile,
        dtype). The state of another source is ignored."""
        self._context, self._record, self._execution = context, record, execution
        self._started = self._saved = time.monotonic()
        self._log: EvaluationLog | None = None
        saved = record.saved_work if record.saved_work.source == source else SavedWork()
        self._earlier_seconds = saved.seconds
        self._finished = list(saved.pictures)
        self._chunks = list(saved.chunks)
        self._last_image: GeneratedImage | None = None
        self._source = source

    @property
    def seconds(self) -> float:
        """Time spent on this request, with the saved time of earlier executions."""
        return self._earlier_seconds + time.monotonic() - self._started

    def finished_image(self, index: int) -> GeneratedImage | None:
        if index >= len(self._finished):
            return None
        pixels = self._context.blobs.get(_pixels(self._record.id, index))
        if pixels is None:
            return None
        assert self._record.width is not None
        assert self._record.height is not None
        width, height = generated_size((self._record.width, self._record.height))
        rows = np.frombuffer(pixels, np.uint8).reshape(height, width, 3)
        return GeneratedImage(rows, *self._finished[index])

    def recorded(self, index: int) -> Sequence[bytes]:
        if index != len(self._finished):
            return ()
        evaluations: list[bytes] = []
        for name, count in self._chunks:
            chunk = self._context.blobs.get(name)
            if chunk is None:
                self._chunks = self._chunks[: self._chunks.index((name, count))]
                break
            size = len(chunk) // count
            evaluations += (chunk[start : start + size] for start in range(0, len(chunk), size))
        return evaluations

    def after_step(self, _index: int, log: EvaluationLog) -> None:
        """Save if RESUME_EVERY_S have passed since the last save."""
        self._log = log
        if time.monotonic() - self._saved >= self._context.settings.resume_every_s:
            self.save()

    def save(self) -> None:
        """Store the evaluations since the last save."""
        evaluations = self._log.drain() if self._log is not None else []
        if evaluations:
            name = keys.answers_blob(self._record.id, self._execution, len(self._chunks))
            self._context.blobs.put(name, b"".join(evaluations), self._record.expires_at)
            self._chunks.append((name, len(evaluations)))
            try:
                self._write_record()
            except LostClaim:
                self._context.blobs.delete(name)  # no record refers to it
                raise
        self._saved = time.monotonic()

    def after_image(self, index: int, image: GeneratedImage) -> None:
        """Store its pixels and delete its evaluations. The last image is stored by finish()."""
        self._log = None
        if index + 1 == self._record.params.samples:
            self._last_image = image
            return
        self._store(index, image)
        self._finished[index:] = [(image.evaluations, image.controlled)]
        chunks, self._chunks = self._chunks, []
        self._write_record()
        self._delete(chunks)

    def finish(self) -> None:
        """Store the last image; may run on another thread, after the generation has returned. Its
        evaluations stay until the request has ended: until then a retry may need them."""
        if self._last_image is not None:
            self._store(self._record.params.samples - 1, self._last_image)

    def _store(self, index: int, image: GeneratedImage) -> None:
        name = _pixels(self._record.id, index)
        self._context.blobs.put(name, image.pixels.tobytes(), self._record.expires_at)

    def _delete(self, chunks: list[tuple[str, int]]) -> None:
        self._context.blobs.delete(*(name for name, _ in chunks))

    def _write_record(self) -> None:
        saved = SavedWork(self._source, tuple(self._finished), tuple(self._chunks), self.seconds)
        if not self._context.requests.keep(self._record.id, self._execution, saved):
            raise LostClaim


def _pixels(request_id: str, index: int) -> str:
    return keys.pixels_blob(request_id, index)
