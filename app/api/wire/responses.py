"""The types of all JSON responses, which also define the schemas in /openapi.json.

Types only; app.api.wire.results builds the bodies.
"""

from __future__ import annotations

from typing import (
    Any,
    Literal,
    NotRequired,  # pydantic needs these before Python 3.12
)

from typing_extensions import TypedDict

from app.core.accounts.usage import UsageRow
from app.core.requests.outputs import Picture
from app.core.requests.record import Status
from app.core.requests.warnings import WarningBody


class ErrorResponse(TypedDict):
    """request_id: v1 ended without a picture, the request did not."""

    error: str
    request_id: NotRequired[str]


class Submitted(TypedDict):
    request_id: str
    status: Literal[Status.QUEUED]
    poll_url: str
    status_url: str
    response_url: str


class Progress(TypedDict):
    step: int
    steps: int


class AppliedLora(TypedDict):
    """sha256: of its file."""

    name: str
    scale: float
    sha256: str


class Metrics(TypedDict, total=False):
    """Empty until the end; a FAILED request has the first three. loras: only of a request with
    LoRAs."""

    inference_time: float
    queue_time: float
    work_units: float | None
    total_time: float
    cost: float
    remaining_credits: float | None
    model_evaluations: int
    controlled_evaluations: int
    profile: str
    loras: list[AppliedLora]


class WorkerState(TypedDict):
    """gpu_worker: only while none is ready: one loads its checkpoint, or there is none."""

    gpu_worker: NotRequired[Literal["starting", "absent"]]


class StatusResponse(WorkerState):
    """Of a request that has not FAILED. progress: only while PROCESSING. queue_position: only
    while QUEUED, 1 is next. eta_seconds: until the end, while there is one to wait for; null when
    nothing has been measured yet. warnings: absent when there is none, here and below.
    """

    status: Literal[Status.QUEUED, Status.PROCESSING, Status.COMPLETED]
    request_id: str
    status_url: str
    response_url: str
    metrics: Metrics
    progress: NotRequired[Progress]
    queue_position: NotRequired[int]
    eta_seconds: NotRequired[float | None]
    warnings: NotRequired[list[WarningBody]]


class FailedResponse(TypedDict):
    status: Literal[Status.FAILED]
    request_id: str
    error: str
    metrics: Metrics
    warnings: NotRequired[list[WarningBody]]


class ControlMap(TypedDict):
    """What the ControlNet was shown, sides rounded up to multiples of 16."""

    url: str
    content_type: str
    file_name: str
    file_size: int
    width: int
    height: int


class Timings(TypedDict):
    inference: float | None


class ResultResponse(TypedDict):
    """output: a link, or base64 (a list when there are several pictures) if it was asked for.
    control_maps: for a request with `controls`, in their order; control_map is the first."""

    status: Literal[Status.COMPLETED]
    error: None
    request_id: str
    output: str | list[str]
    images: list[Picture]
    seed: str
    prompt: str
    timings: Timings
    metrics: Metrics
    control_map: NotRequired[ControlMap]
    control_maps: NotRequired[list[ControlMap]]
    warnings: NotRequired[list[WarningBody]]


class ReceiptMap(TypedDict):
    file_name: str
    width: int
    height: int
    sha256: str
    pixels_sha256: str
    url: str


class ReceiptPicture(TypedDict):
    file_name: str
    width: int
    height: int
    sha256: str
    pixels_sha256: str
    seed: str


class Receipt(TypedDict):
    """Everything that decided the pixels. sigmas_sha256: of little-endian float32. control_maps:
    for a request with `controls`."""

    request_id: str
    created_at: str
    ended_at: str
    parameters: dict[str, Any]
    width: int
    height: int
    evaluations: int
    controlled: int
    checkpoint: str
    weights: dict[str, str]
    device: str
    dtype: str
    mu: float
    sigmas_sha256: str
    versions: dict[str, str]
    control_map: ReceiptMap | None
    control_maps: NotRequired[list[ReceiptMap]]
    outputs: list[ReceiptPicture]


class Signature(TypedDict):
    algorithm: Literal["HMAC-SHA256"]
    value: str


class ReceiptResponse(TypedDict):
    """signature: of `receipt` as JSON with sorted keys and no blanks."""

    receipt: Receipt
    signature: Signature


class PollResponse(TypedDict):
    """Of the older protocol. output: empty until COMPLETED, then a link."""

    status: Literal[Status.QUEUED, Status.PROCESSING, Status.COMPLETED]
    request_id: str
    output: str
    message: NotRequired[str]
    poll_url: NotRequired[str]


class PollFailed(TypedDict):
    status: Literal[Status.FAILED]
    request_id: str
    output: str
    error: str
    error_message: ErrorResponse


class EncodedPictures(TypedDict):
    """v1 with `base64`. profile: only when the request named one."""

    image: str | list[str]
    status: Literal["Success"]
    infer_time: float | None
    outputs: int
    image_format: str
    profile: NotRequired[str]


# With the hosted service's hyphen. unlimited: the key has no budget, and credits is a large number.
UserCredits = TypedDict("UserCredits", {"credits": float, "free-credits": float, "unlimited": bool})


class KeyResponse(TypedDict):
    """A key without its secret. credits: what is left; null without a budget. spent: what its
    COMPLETED requests cost. spent_by_month: the same for this month and the two before it, by month
    (`2026-11`). Moments are ISO 8601 in UTC."""

    id: str
    name: str
    created: str
    expires: str | None
    last_used: str | None
    credits: float | None
    spent: float
    spent_by_month: dict[str, float]
    rpm: int | None
    concurrency: int | None
    admin: bool
    webhook_url: str | None


class NewKey(KeyResponse):
    """key: the secret, shown only now."""

    key: str


class KeyList(TypedDict):
    keys: list[KeyResponse]


class UsageReport(TypedDict):
    """A row for each group with requests."""

    usage: list[UsageRow]


class Revoked(TypedDict):
    revoked: str


class Balance(TypedDict):
    id: str
    credits: float


class Liveness(TypedDict):
    status: Literal["alive"]


class Readiness(TypedDict):
    status: Literal["ready", "not ready"]
    checks: dict[str, bool]
