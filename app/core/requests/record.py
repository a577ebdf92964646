"""The request record: its fields, its states and stages, and how it is read from Redis.

Owns the meaning of the hash `req:ID`. Changes nothing: app/core/requests/store.py does.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from functools import partial
from typing import TypeVar

from app.core.accounts.credits import to_credits
from app.core.requests.types import (
    GenerationParameters,
    Output,
    Provenance,
    SavedWork,
    Source,
    StoredPicture,
    WebhookTarget,
    outputs_from_json,
)
from app.core.requests.warnings import RequestWarning, by_importance, warnings_from_json
from app.core.requests.work import ExpectedWork
from app.core.stored_json import from_stored
from models.geometry import Size


class Status(StrEnum):
    QUEUED = "QUEUED"
    PROCESSING = "PROCESSING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"

    @property
    def terminal(self) -> bool:
        return self in (Status.COMPLETED, Status.FAILED)


class Stage(IntEnum):
    """The jobs of a request, in order; the record holds the number.

    A request begins with FETCH when its picture is on another server, else with PREPARE.
    """

    FETCH = 0
    PREPARE = 1
    GENERATE = 2
    FINISH = 3

    @property
    def next(self) -> Stage:
        return Stage(self + 1)


@dataclass(frozen=True, slots=True)
class StepTimes:
    """When the current execution of GENERATE did an earlier step and its last one, of `steps`. at,
    earlier_at: Unix seconds. The steps are those of the execution: after a crash they are behind
    the step that was reported."""

    steps: int
    earlier_step: int
    earlier_at: float
    step: int
    at: float

    @classmethod
    def from_text(cls, text: str) -> StepTimes:
        """From the field that transitions/progress.lua writes. Raises ValueError."""
        _execution, steps, earlier_step, earlier_at, _step, _at, step, at = text.split()
        return cls(int(steps), int(earlier_step), float(earlier_at), int(step), float(at))


@dataclass(frozen=True, slots=True)
class RequestRecord:
    """A request as it was when read. Times are Unix seconds; None means not yet.

    source: of the picture that decides the size of the result. further_sources: of the other
    pictures of a request with `controls`. width, height: of the result, in pixels. work: in work
    units. annotated: the blob `ID:control` has the control map, not the picture. annotations: the
    same for each control of a request with `controls`, None before PREPARE, and if an older
    worker ran it. error_status: for v1. inference_s: seconds in the model. evaluations, controlled:
    how often the model and the ControlNet were evaluated. profile: the speed profile that was used.
    device: that made the pictures, as its worker calls it. predicted_s: the forecast, at the start,
    of the seconds to the end. expected: None if an older version accepted the request. load:
    GpuLoad.total, from PREPARE.
    key_id: of the API key. price: credits for a work unit. cost: in credits, 0 until the size is
    known. remaining: credits of the key after the request had COMPLETED; None for a key without a
    budget. control_map: also None when the request asked for nothing else. further_maps: of the
    controls after the first. warnings: of all stages so far. outputs_expire_at: see
    files_expire_at.
    """

    id: str
    owner: str
    status: Status
    params: GenerationParameters
    source: Source
    created_at: float
    expires_at: float
    started_at: float | None = None
    ended_at: float | None = None
    step: int = 0
    steps: int = 0
    width: int | None = None
    height: int | None = None
    work: float | None = None
    annotated: bool = False
    stage: Stage = Stage.PREPARE
    error: str | None = None
    error_status: int = 500
    outputs: tuple[Output, ...] = ()
    inference_s: float | None = None
    evaluations: int = 0
    controlled: int = 0
    profile: str = "exact"
    predicted_s: float | None = None
    saved_work: SavedWork = field(default_factory=SavedWork)
    webhook: WebhookTarget | None = None
    key_id: str = ""
    price: float = 0.0
    cost: float = 0.0
    remaining: float | None = None
    control_map: StoredPicture | None = None
    provenance: Provenance | None = None
    further_sources: tuple[Source, ...] = ()
    annotations: tuple[bool, ...] | None = None
    further_maps: tuple[StoredPicture, ...] = ()
    warnings: tuple[RequestWarning, ...] = ()
    outputs_expire_at: float | None = None
    expected: ExpectedWork | None = None
    load: float | None = None
    step_times: StepTimes | None = None
    device: str | None = None

    @property
    def size(self) -> Size | None:
        """Of the result; None before PREPARE."""
        if self.width is None or self.height is None:
            return None
        return self.width, self.height

    @property
    def best_load(self) -> float | None:
        """The load as far as it is known. Work units stand for it in a record of an older version:
        the numbers are close at 1024x1024."""
        if self.load is not None:
            return self.load
        return self.work if self.expected is None else self.expected.load

    @property
    def only_map(self) -> bool:
        """The client wants the control map alone."""
        return self.params.only_map

    @property
    def sources(self) -> tuple[Source, ...]:
        """Where all pictures of the request come from."""
        return (self.source, *self.further_sources)

    def source_of(self, control: int) -> int:
        """The index in `sources` of the picture of a control: its own one, or the request's."""
        own = f"controls[{control}]."
        indices = (at for at, of in enumerate(self.sources) if of.field.startswith(own))
        return next(indices, 0)

    @property
    def are_maps(self) -> tuple[bool, ...] | None:
        """For each control whether its blob `ID:control` has the map, not the picture. None when
        PREPARE has not made them."""
        return self.annotations if self.params.controls else (self.annotated,)

    @property
    def control_maps(self) -> tuple[StoredPicture, ...]:
        """The maps of all controls; empty when there are none."""
        return (self.control_map, *self.further_maps) if self.control_map else ()

    @property
    def pictures(self) -> tuple[StoredPicture, ...]:
        """Every file that the request has made, the control maps last."""
        return (*self.outputs, *self.control_maps)

    @property
    def files_expire_at(self) -> float:
        """When the pictures expire, in Unix seconds: never before the record. An older worker
        stores them as long as the record."""
        return self.outputs_expire_at or self.expires_at

    @property
    def queue_s(self) -> float:
        """Seconds between acceptance and the moment a gpu worker began (or the end, or now)."""
        return (self.started_at or self.ended_at or time.time()) - self.created_at

    @property
    def total_s(self) -> float:
        return (self.ended_at or time.time()) - self.created_at


Parsed = TypeVar("Parsed")
_NO_SAVED_WORK = SavedWork()

ID = re.compile("[0-9a-f]{32}")
"""The form of a request id."""


def record_from(request_id: str, fields: Mapping[str, str]) -> RequestRecord | None:
    """The record in a Redis hash, or None when there is none. Raises KeyError and ValueError."""
    if "status" not in fields:  # no hash, or some fields written after it had expired
        return None

    def number(name: str) -> float | None:
        return float(fields[name]) if name in fields else None

    def integer(name: str) -> int | None:
        return int(fields[name]) if name in fields else None

    def parsed(name: str, parse: Callable[[str], Parsed]) -> Parsed | None:
        return parse(fields[name]) if name in fields else None

    remaining = integer("remaining")

    return RequestRecord(
        id=request_id,
        owner=fields["owner"],
        status=Status(fields["status"]),
        params=GenerationParameters.from_json(fields["params"]),
        source=Source.from_json(fields["source"]),
        created_at=float(fields["created_at"]),
        expires_at=float(fields["expires_at"]),
        started_at=number("started_at"),
        ended_at=number("ended_at"),
        step=integer("step") or 0,
        steps=integer("steps") or 0,
        width=integer("width"),
        height=integer("height"),
        work=number("work"),
        annotated=fields.get("annotated") == "true",
        stage=Stage(int(fields["stage"])),
        error=fields.get("error"),
        error_status=integer("error_status") or 500,
        outputs=parsed("outputs", outputs_from_json) or (),
        inference_s=number("inference_s"),
        evaluations=integer("evaluations") or 0,
        controlled=integer("controlled") or 0,
        profile=fields.get("profile", "exact"),
        predicted_s=number("predicted_s"),
        saved_work=parsed("kept", SavedWork.from_json) or _NO_SAVED_WORK,
        webhook=parsed("webhook", WebhookTarget.from_json),
        key_id=fields.get("key", ""),
        price=number("price") or 0.0,
        cost=to_credits(integer("cost") or 0),
        remaining=None if remaining is None else to_credits(remaining),
        control_map=parsed("control_map", StoredPicture.from_json),
        provenance=parsed("made_with", Provenance.from_json),
        further_sources=parsed("further_sources", Source.list_from_json) or (),
        annotations=parsed("annotations", lambda text: tuple(json.loads(text))),
        further_maps=parsed("further_maps", StoredPicture.list_from_json) or (),
        warnings=by_importance(
            warning
            for name in ("submission_warnings", "generation_warnings")
            for warning in parsed(name, warnings_from_json) or ()
        ),
        outputs_expire_at=number("outputs_expire_at"),
        expected=parsed("expected", partial(from_stored, ExpectedWork)),
        load=number("load"),
        step_times=parsed("step_times", StepTimes.from_text),
        device=fields.get("device"),
    )
