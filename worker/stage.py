"""Owns how a job runs one stage of a request (claim, work, advance) and what each error means.

An error of the request ends it as FAILED, and the job is done. An error of the infrastructure
(Redis or the blob store unavailable, shutdown of the process) leaves the record unchanged and goes
to RQ, which re-queues the job for another worker.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from redis.exceptions import RedisError
from rq.timeouts import JobTimeoutException

from app.core.errors import BlobsUnavailable, GenerationFailed, RequestFailed, TimedOut
from app.core.lifecycle.background_jobs import BackgroundJob
from app.core.lifecycle.temporary_blobs import delete_temporary_blobs
from app.core.requests.record import RequestRecord, Stage
from app.core.requests.stage_results import FinishResult, PrepareResult, StageResult
from app.core.requests.store import Claim
from worker.runtime import Runtime, runtime

log = logging.getLogger(__name__)

STORE_PAUSE_S = 10
"""Back-off before a job is re-queued because the blob store is unavailable. With RQ's three
retries a request survives an outage of 40 s."""

Work = Callable[[Runtime, RequestRecord, str], StageResult]
"""(runtime, record, execution) -> what the stage adds to the record."""

SplitWork = Callable[[Runtime, RequestRecord, str], Callable[[], StageResult]]
"""(runtime, record, execution) -> the deferred part of the work, which returns the result."""

DeferredWork = Callable[[], None]
"""The second part of a job. It may run on another thread; the stage is open until it returns."""

Result = TypeVar("Result")


class LostClaim(Exception):
    """Another execution holds the request, or the request has ended: stop and write nothing."""


def run_stage(request_id: str, stage: Stage, work: Work) -> bool:
    """Run `work` for a request under its own claim. Idempotent for a given stage.

    Returns True when this call finished the stage. Only then may the caller delete the stage's
    input.
    """
    claimed = _claim(request_id, stage)
    if claimed is None:
        return False
    result = claimed.attempt(lambda: work(claimed.context, claimed.record, claimed.execution))
    return result is not None and claimed.advance(result)


def run_split_stage(request_id: str, stage: Stage, work: SplitWork) -> DeferredWork | None:
    """Run the first part of `work`; the caller calls the returned function once, on any thread, to
    finish the stage. Returns None when there is nothing left to do.
    """
    claimed = _claim(request_id, stage)
    if claimed is None:
        return None
    second_part = claimed.attempt(lambda: work(claimed.context, claimed.record, claimed.execution))
    if second_part is None:
        return None

    def deferred() -> None:
        result = claimed.attempt(second_part)
        if result is not None:
            claimed.advance(result)

    return deferred


def _claim(request_id: str, stage: Stage) -> _ClaimedStage | None:
    """None when this stage has nothing to do."""
    context = runtime()
    execution = uuid.uuid4().hex
    claim = context.requests.claim(request_id, stage, execution)
    if claim is Claim.AHEAD and stage is not Stage.FINISH:
        # An earlier execution finished this stage but may have died before it enqueued the next.
        ahead = context.requests.get(request_id)
        if ahead is not None:
            context.jobs.enqueue(request_id, ahead.stage)
    if claim is not Claim.CLAIMED:
        return None
    record = context.requests.get(request_id)
    return None if record is None else _ClaimedStage(context, record, stage, execution)


@dataclass(frozen=True, slots=True)
class _ClaimedStage:
    """A stage of a request that this execution has claimed."""

    context: Runtime
    record: RequestRecord
    stage: Stage
    execution: str

    def attempt(self, work: Callable[[], Result]) -> Result | None:
        """The result of `work`. None when the request failed or its claim was lost."""
        try:
            return work()
        except RedisError:
            raise
        except BlobsUnavailable:
            # RQ retries at once and only a few times, so back off here.
            time.sleep(STORE_PAUSE_S)
            raise
        except LostClaim:
            ended = self._delete_blobs_if_ended()
            level = logging.INFO if ended else logging.WARNING  # cancelled, or claimed elsewhere
            log.log(level, "request %s: %s lost its claim", self.record.id, self.stage.name)
        except RequestFailed as error:
            self._fail(error)
        except JobTimeoutException:
            self._fail(TimedOut())
        except Exception:
            log.exception("request %s: %s raised", self.record.id, self.stage.name)
            self._fail(GenerationFailed("Internal error"))
        return None

    def _fail(self, error: RequestFailed) -> None:
        fail(self.context, self.record.id, self.execution, error)

    def advance(self, result: StageResult) -> bool:
        """Store the result and enqueue the next stage. False when the claim was lost."""
        requests, request_id = self.context.requests, self.record.id
        if isinstance(result, FinishResult):
            stored = requests.complete(request_id, self.execution, result)
            if stored:
                self.context.background_jobs.request(BackgroundJob.NOTIFY)
            else:
                self._delete_blobs_if_ended()
            return stored
        done = self._last_done_stage(result)
        stored = requests.advance(request_id, done, self.execution, result)
        if stored:
            self.context.jobs.enqueue(request_id, done.next)
        else:
            self._delete_blobs_if_ended()
        return stored

    def _delete_blobs_if_ended(self) -> bool:
        """Delete the blobs of a request that ended (was cancelled) while this stage ran."""
        record = self.context.requests.get(self.record.id)
        ended = record is not None and record.status.terminal
        if ended:
            delete_temporary_blobs(self.context.requests, self.context.blobs, self.record.id)
        return ended

    def _last_done_stage(self, result: StageResult) -> Stage:
        """A request for a map alone skips the gpu stage when prepare has made the map."""
        mapped = self.record.only_map and isinstance(result, PrepareResult) and result.annotated
        return Stage.GENERATE if mapped else self.stage


def fail(context: Runtime, request_id: str, execution: str, error: RequestFailed) -> None:
    """End the request with `error`, unless another execution holds its claim."""
    if context.requests.fail(request_id, error, execution):
        context.background_jobs.request(BackgroundJob.NOTIFY)
        delete_temporary_blobs(context.requests, context.blobs, request_id)
