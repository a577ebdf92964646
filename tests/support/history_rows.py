"""Rows of the history."""

from __future__ import annotations

import time
from dataclasses import replace
from zlib import crc32

from app.core.history.base import HistoryRow
from app.core.requests.types import Output

NOW = float(int(time.time()))


def a_row(owner: str, number: int, **changes: object) -> HistoryRow:
    """One picture of a request of some minutes ago; of a later one for a greater number."""
    row = HistoryRow(
        request_id=f"{crc32(owner.encode()):024x}{number:08x}",
        output=0,
        owner=owner,
        model="flux-controlnet",
        status="COMPLETED",
        created_at=NOW - 1000 + number,
        started_at=NOW,
        ended_at=NOW,
        expires_at=NOW + 3600,
        cost=0.5,
        error=None,
        inputs={"prompt": "ein Bär\0", "image": "(file)", "seed": 1},
        picture=Output("0.png", seed=1),
        inference_s=1.5,
        queue_s=0.25,
        work=20.0,
        evaluations=20,
        profile="exact",
    )
    return replace(row, **changes)  # type: ignore[arg-type]
