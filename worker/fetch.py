"""The fetch job: downloads the pictures behind a client's URLs into the blobs `ID:source`.

It is the only job that opens connections to hosts that clients name. It decodes nothing;
worker.prepare validates the files.
"""

from __future__ import annotations

from collections.abc import Callable

from app.core.egress.addresses import AllowList
from app.core.egress.connections import Deadline
from app.core.egress.fetch import fetch_image
from app.core.redis import keys
from app.core.requests.record import RequestRecord, Stage
from app.core.requests.stage_results import StageResult
from worker.picture_field import name_field
from worker.runtime import Runtime
from worker.stage import DeferredWork, run_split_stage


def fetch(request_id: str) -> DeferredWork | None:
    """RQ job. Returns the download as deferred work, which runs on its own thread."""
    return run_split_stage(request_id, Stage.FETCH, _fetch)


def _fetch(context: Runtime, record: RequestRecord, _execution: str) -> Callable[[], StageResult]:
    def download() -> StageResult:
        settings = context.settings
        allow = AllowList.parse(settings.fetch_allow_hosts)
        timeout_s = settings.fetch_timeout_s
        deadline = Deadline(timeout_s)  # of all pictures together
        for index, source in enumerate(record.sources):
            if source.url is None or _is_own(context, source.url):
                continue
            with name_field(source.field):
                data = fetch_image(
                    source.url, allow, settings.max_image_bytes, timeout_s, deadline=deadline
                )
            context.blobs.put(keys.source_blob(record.id, index), data, record.expires_at)
        return StageResult()

    return download


def _is_own(context: Runtime, url: str) -> bool:
    """Whether PREPARE reads the picture from the blob store."""
    return bool(context.links.own_output(url) or context.links.own_upload(url))
