"""How a job carries a request through one stage: claim, work, hand on. The same for all three.

Owns the meaning of errors inside a job. An error of the request ends it as FAILED and the job is
done; an error of the infrastructure (Redis away, the process told to stop) leaves the record as
it is and goes to RQ, which gives the job to another worker.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from redis.exceptions import RedisError
from rq.timeouts import JobTimeoutException

from app.core.errors import GenerationFailed, RequestFailed, TimedOut
from app.core.requests import Claim, RequestRecord, Stage
from models.spec import SAMPLES_MAX
from worker.runtime import Runtime, runtime

log = logging.getLogger(__name__)

Fields = Mapping[str, Any]
Work = Callable[[Runtime, RequestRecord, str], Fields]
"""(runtime, record, execution) -> what the stage adds to the record."""


class LostClaim(Exception):
    """Another execution has taken the request over, or it has ended: stop and write nothing."""


def run_stage(request_id: str, stage: Stage, work: Work) -> bool:
    """Run `work` for a request under a claim of its own. Safe to call again for the same stage.

    True when this call finished the stage: only then may what the stage consumed be deleted.
    """
    context = runtime()
    execution = uuid.uuid4().hex
    claim = context.requests.claim(request_id, stage, execution)
    if claim is Claim.AHEAD and stage is not Stage.FINISH:
        # An earlier execution finished this stage but may have died before handing on.
        context.jobs.enqueue(request_id, stage.next)
    if claim is not Claim.CLAIMED:
        return False
    record = context.requests.get(request_id)
    if record is None:
        return False
    try:
        fields = work(context, record, execution)
    except RedisError:
        raise
    except LostClaim:
        log.warning("request %s: %s lost its claim", request_id, stage.name)
    except RequestFailed as error:
        fail(context, request_id, execution, error)
    except JobTimeoutException:
        fail(context, request_id, execution, TimedOut())
    except Exception:
        log.exception("request %s: %s raised", request_id, stage.name)
        fail(context, request_id, execution, GenerationFailed("Internal error"))
    else:
        return _hand_on(context, request_id, stage, execution, fields)
    return False


def fail(context: Runtime, request_id: str, execution: str, error: RequestFailed) -> None:
    """End the request for this reason, unless another execution holds it by now."""
    if context.requests.fail(request_id, error, execution):
        drop_working_blobs(context, request_id)


def drop_working_blobs(context: Runtime, request_id: str) -> None:
    """Forget what the jobs of an ended request handed to each other; outputs stay."""
    pixels = [f"{request_id}:pixels:{index}" for index in range(SAMPLES_MAX)]
    context.blobs.delete(f"{request_id}:source", f"{request_id}:control", *pixels)


def _hand_on(
    context: Runtime, request_id: str, stage: Stage, execution: str, fields: Fields
) -> bool:
    if stage is Stage.FINISH:
        return context.requests.complete(request_id, execution, fields)
    advanced = context.requests.advance(request_id, stage, execution, fields)
    if advanced:
        context.jobs.enqueue(request_id, stage.next)
    return advanced
