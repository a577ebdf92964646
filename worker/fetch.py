"""The fetch job: downloads the picture behind a client's URL into the blob `ID:source`.

It is the only job that opens connections to hosts that clients name. It decodes nothing;
worker.prepare validates the file.
"""

from __future__ import annotations

from collections.abc import Callable

from app.core.egress.addresses import AllowList
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
        assert record.source.url is not None
        settings = context.settings
        allow = AllowList.parse(settings.fetch_allow_hosts)
        with name_field(record):
            data = fetch_image(
                record.source.url, allow, settings.max_image_bytes, settings.fetch_timeout_s
            )
        context.blobs.put(keys.source_blob(record.id), data, record.expires_at)
        return StageResult()

    return download
