"""How a job carries a request through one stage: claim, work, hand on. The same for all three.

Owns the meaning of errors inside a job. An error of the request ends it as FAILED and the job is
done; an error of the infrastructure (Redis away, the process told to stop) leaves the record as
it is and goes to RQ, which gives the job to another worker. The store of picture bytes belongs to
the infrastructure.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from redis.exceptions import RedisError
from rq.timeouts import JobTimeoutException

from app.core.errors import BlobsUnavailable, GenerationFailed, RequestFailed, TimedOut
from app.core.lifecycle.background_jobs import BackgroundJob
from app.core.lifecycle.temporary_blobs import delete_temporary_blobs
from app.core.requests.record import RequestRecord, Stage
from app.core.requests.store import Claim
from worker.runtime import Runtime, runtime

log = logging.getLogger(__name__)

STORE_PAUSE_S = 10
"""How long a worker waits before it gives a job back whose bytes cannot be stored or read: with
RQ's three retries a request outlives 40 s of that."""

Fields = Mapping[str, Any]
Work = Callable[[Runtime, RequestRecord, str], Fields]
"""(runtime, record, execution) -> what the stage adds to the record."""

WorkInTwo = Callable[[Runtime, RequestRecord, str], Callable[[], Fields]]
"""(runtime, record, execution) -> the end of the work, which says what the stage adds."""

Rest = Callable[[], None]
Result = TypeVar("Result")


class LostClaim(Exception):
    """Another execution has taken the request over, or it has ended: stop and write nothing."""


def run_stage(request_id: str, stage: Stage, work: Work) -> bool:
    """Run `work` for a request under a claim of its own. Safe to call again for the same stage.

    True when this call finished the stage: only then may what the stage consumed be deleted.
    """
    claimed = _claim(request_id, stage)
    if claimed is None:
        return False
    fields = claimed.attempt(lambda: work(claimed.context, claimed.record, claimed.execution))
    return fields is not None and claimed.hand_on(fields)


def run_stage_in_two(request_id: str, stage: Stage, work: WorkInTwo) -> Rest | None:
    """run_stage with its end left to the caller: the stage is open until the returned function is
    called, once, on whatever thread. None: there is nothing left to do.
    """
    claimed = _claim(request_id, stage)
    if claimed is None:
        return None
    end = claimed.attempt(lambda: work(claimed.context, claimed.record, claimed.execution))
    if end is None:
        return None

    def rest() -> None:
        fields = claimed.attempt(end)
        if fields is not None:
            claimed.hand_on(fields)

    return rest


def _claim(request_id: str, stage: Stage) -> _Claimed | None:
    """None when there is nothing to do for this stage."""
    context = runtime()
    execution = uuid.uuid4().hex
    claim = context.requests.claim(request_id, stage, execution)
    if claim is Claim.AHEAD and stage is not Stage.FINISH:
        # An earlier execution finished this stage but may have died before handing on.
        ahead = context.requests.get(request_id)
        if ahead is not None:
            context.jobs.enqueue(request_id, ahead.stage)
    if claim is not Claim.CLAIMED:
        return None
    record = context.requests.get(request_id)
    return None if record is None else _Claimed(context, record, stage, execution)


@dataclass(frozen=True, slots=True)
class _Claimed:
    """A stage of a request that this process works on."""

    context: Runtime
    record: RequestRecord
    stage: Stage
    execution: str

    def attempt(self, work: Callable[[], Result]) -> Result | None:
        """What `work` returns; None when it ended the request or lost it."""
        try:
            return work()
        except RedisError:
            raise
        except BlobsUnavailable:
            # RQ gives the job to a worker again at once, and does so only a few times.
            time.sleep(STORE_PAUSE_S)
            raise
        except LostClaim:
            ended = self._tidy()
            level = logging.INFO if ended else logging.WARNING  # cancelled, or another one has it
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

    def hand_on(self, fields: Fields) -> bool:
        """Store what the stage found and open the next one. False: not ours any more."""
        requests, request_id = self.context.requests, self.record.id
        if self.stage is Stage.FINISH:
            stored = requests.complete(request_id, self.execution, fields)
            if stored:
                self.context.background_jobs.request(BackgroundJob.NOTIFY)
            else:
                self._tidy()
            return stored
        done = self._done(fields)
        stored = requests.advance(request_id, done, self.execution, fields)
        if stored:
            self.context.jobs.enqueue(request_id, done.next)
        else:
            self._tidy()
        return stored

    def _tidy(self) -> bool:
        """Drop what was stored since the request ended, if it has: it was cancelled meanwhile."""
        record = self.context.requests.get(self.record.id)
        ended = record is not None and record.status.terminal
        if ended:
            delete_temporary_blobs(self.context.requests, self.context.blobs, self.record.id)
        return ended

    def _done(self, fields: Fields) -> Stage:
        """The last stage that needs no more work: a map alone takes a gpu only to be detected."""
        mapped = self.record.only_map and fields.get("annotated")
        return Stage.GENERATE if mapped else self.stage


def fail(context: Runtime, request_id: str, execution: str, error: RequestFailed) -> None:
    """End the request for this reason, unless another execution holds it by now."""
    if context.requests.fail(request_id, error, execution):
        context.background_jobs.request(BackgroundJob.NOTIFY)
        delete_temporary_blobs(context.requests, context.blobs, request_id)
