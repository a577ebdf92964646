"""First job of a request whose picture is on another server, on the fetch worker and the only one
that opens connections for a client: URL -> blob `ID:source`, the bytes of the file.

Decodes nothing. What is downloaded is judged in worker.prepare.
"""

from __future__ import annotations

from collections.abc import Callable

from app.core.egress.addresses import AllowList
from app.core.egress.fetch import fetch_image
from app.core.redis import keys
from app.core.requests.record import RequestRecord, Stage
from worker.picture_field import name_field
from worker.runtime import Runtime
from worker.stage import Fields, Rest, run_stage_in_two


def fetch(request_id: str) -> Rest | None:
    """RQ job. Returns the download itself, for a thread of its own."""
    return run_stage_in_two(request_id, Stage.FETCH, _fetch)


def _fetch(context: Runtime, record: RequestRecord, _execution: str) -> Callable[[], Fields]:
    def download() -> Fields:
        settings = context.settings
        allow = AllowList.parse(settings.fetch_allow_hosts)
        with name_field(record):
            data = fetch_image(
                record.source["url"], allow, settings.max_image_bytes, settings.fetch_timeout_s
            )
        context.blobs.put(keys.source_blob(record.id), data, record.expires_at)
        return {}

    return download
