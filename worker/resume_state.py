"""What a generation leaves in Redis for whoever goes on with it, should its worker die.

Finished pictures are the pixel blobs of the request; the model's answers for the unfinished one
are blobs of their own. The record says which of them count, written under the execution's claim,
so that a worker that lost the request adds nothing. Knows no model.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from app.core.redis import keys
from app.core.requests.record import RequestRecord
from models.evaluation_log import EvaluationLog, Made
from models.geometry import generated_size
from worker.runtime import Runtime
from worker.stage import LostClaim


class ResumeState:
    """models.evaluation_log.Memory for one execution of one request."""

    def __init__(
        self, context: Runtime, record: RequestRecord, execution: str, source: str
    ) -> None:
        """source: what answers depend on besides the request (version, checkpoint, profile,
        dtype). Those of another source are not gone on with."""
        self._context, self._record, self._execution = context, record, execution
        self._began = self._saved = time.monotonic()
        self._tape: EvaluationLog | None = None
        kept = record.kept if record.kept.get("source") == source else {}
        self._before: float = kept.get("seconds", 0.0)
        self._made: list[list[int]] = list(kept.get("made", []))
        self._chunks: list[tuple[str, int]] = [(name, n) for name, n in kept.get("chunks", [])]
        self._last: Made | None = None
        self._source = source

    @property
    def seconds(self) -> float:
        """Spent on this request so far, by earlier executions too as far as they saved."""
        return self._before + time.monotonic() - self._began

    def made(self, index: int) -> Made | None:
        if index >= len(self._made):
            return None
        pixels = self._context.blobs.get(_pixels(self._record.id, index))
        if pixels is None:
            return None
        assert self._record.width is not None
        assert self._record.height is not None
        width, height = generated_size((self._record.width, self._record.height))
        rows = np.frombuffer(pixels, np.uint8).reshape(height, width, 3)
        return Made(rows, *self._made[index])

    def answers(self, index: int) -> Sequence[bytes]:
        if index != len(self._made):
            return ()
        answers: list[bytes] = []
        for name, count in self._chunks:
            chunk = self._context.blobs.get(name)
            if chunk is None:
                self._chunks = self._chunks[: self._chunks.index((name, count))]
                break
            size = len(chunk) // count
            answers += (chunk[start : start + size] for start in range(0, len(chunk), size))
        return answers

    def after_step(self, _index: int, tape: EvaluationLog) -> None:
        """Save once RESUME_EVERY_S have passed since the last time."""
        self._tape = tape
        if time.monotonic() - self._saved >= self._context.settings.resume_every_s:
            self.save()

    def save(self) -> None:
        """Keep what the model has answered since the last time."""
        answers = self._tape.take() if self._tape is not None else []
        if answers:
            name = keys.answers_blob(self._record.id, self._execution, len(self._chunks))
            self._context.blobs.put(name, b"".join(answers), self._record.expires_at)
            self._chunks.append((name, len(answers)))
            try:
                self._note()
            except LostClaim:
                self._context.blobs.delete(name)  # nobody else knows of it
                raise
        self._saved = time.monotonic()

    def after_picture(self, index: int, made: Made) -> None:
        """Store its pixels; its answers are of no use any more. The last one's wait for finish."""
        self._tape = None
        if index + 1 == self._record.params["samples"]:
            self._last = made
            return
        self._store(index, made)
        self._made[index:] = [[made.evaluations, made.controlled]]
        chunks, self._chunks = self._chunks, []
        self._note()
        self._forget(chunks)

    def finish(self) -> None:
        """Store the last picture. May run on another thread, once the generation has returned. The
        answers stay until the request has ended: nobody knows yet that they are not needed."""
        if self._last is not None:
            self._store(self._record.params["samples"] - 1, self._last)

    def _store(self, index: int, made: Made) -> None:
        name = _pixels(self._record.id, index)
        self._context.blobs.put(name, made.pixels.tobytes(), self._record.expires_at)

    def _forget(self, chunks: list[tuple[str, int]]) -> None:
        self._context.blobs.delete(*(name for name, _ in chunks))

    def _note(self) -> None:
        kept: dict[str, Any] = {
            "source": self._source,
            "made": self._made,
            "chunks": self._chunks,
            "seconds": self.seconds,
        }
        if not self._context.requests.keep(self._record.id, self._execution, kept):
            raise LostClaim


def _pixels(request_id: str, index: int) -> str:
    return keys.pixels_blob(request_id, index)
