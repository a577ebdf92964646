"""Records of requests for tests: as values, and as the store of a server holds them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from app.core.errors import RequestFailed
from app.core.requests.record import RequestRecord, Stage, Status
from app.core.requests.stage_results import (
    FinishResult,
    GenerateResult,
    PrepareResult,
    StageResult,
)
from app.core.requests.store import RequestStore
from app.core.requests.types import (
    GenerationParameters,
    Output,
    Provenance,
    Source,
    SourceKind,
    StoredPicture,
)

REQUEST_ID = "0123456789abcdef" * 2

PARAMS = GenerationParameters(prompt="an astronaut", seed=652889, samples=2)
SOURCE = Source(kind=SourceKind.BASE64)

CONTROL_MAP = StoredPicture(
    file_name="map.png",
    content_type="image/png",
    file_size=77,
    width=528,
    height=272,
    sha256="5" * 64,
    pixels_sha256="6" * 64,
)

PROVENANCE = Provenance(
    checkpoint="demo",
    weights={"transformer": "7" * 64},
    device="cpu",
    dtype="float32",
    mu=1.15,
    sigmas_sha256="8" * 64,
    versions={"torch": "2.0"},
)


def output(number: int = 0, **changes: Any) -> Output:
    """One finished picture of a record."""
    picture = Output(
        file_name=f"{number}.jpeg",
        content_type="image/jpeg",
        file_size=1000 + number,
        width=520,
        height=264,
        seed=652889 + number,
        sha256=str(number) * 64,
        pixels_sha256=str(number + 3) * 64,
    )
    return replace(picture, **changes)


def prepared(**changes: Any) -> PrepareResult:
    """Of PREPARE, for a picture of the default profile."""
    result = PrepareResult(width=528, height=272, work=5.5, profile="exact", annotated=False)
    return replace(result, **changes)


def generated(**changes: Any) -> GenerateResult:
    """Of GENERATE."""
    result = GenerateResult(
        inference_s=13.5, evaluations=40, controlled=20, profile="fast", provenance=PROVENANCE
    )
    return replace(result, **changes)


COMPLETED = RequestRecord(
    id=REQUEST_ID,
    owner="team-a",
    status=Status.COMPLETED,
    params=PARAMS,
    source=SOURCE,
    created_at=1_700_000_000.25,
    expires_at=1_700_003_600.0,
    started_at=1_700_000_002.0,
    ended_at=1_700_000_015.5,
    step=20,
    steps=20,
    width=528,
    height=272,
    work=5.5,
    stage=Stage.FINISH,
    outputs=(output(0), output(1)),
    inference_s=13.0612345678,
    evaluations=40,
    controlled=20,
    profile="fast",
    key_id="abcdef012345",
    price=1.0,
    cost=5.5,
    remaining=94.5,
    provenance=PROVENANCE,
)
"""Two pictures, made in 13 of the 15 seconds since the submission."""


def record(**changes: Any) -> RequestRecord:
    """COMPLETED, but for `changes`."""
    return replace(COMPLETED, **changes)


def queued(store: RequestStore, request_id: str = REQUEST_ID, **options: Any) -> str:
    """A request of team-a that waits. Its id. options: of RequestStore.submit."""
    given: dict[str, Any] = {"owner": "team-a", "params": PARAMS, "source": SOURCE}
    given |= {"expires_at": store.expiry(), **options}
    store.submit(request_id, **given)
    return request_id


def begun(store: RequestStore, request_id: str = REQUEST_ID, **options: Any) -> str:
    """The same, being made by execution "e"."""
    queued(store, request_id, **options)
    return begin(store, request_id)


def completed(store: RequestStore, request_id: str = REQUEST_ID, **options: Any) -> str:
    """The same, COMPLETED, without the bytes of its pictures. options: of finish() too."""
    names = ("outputs", "control_map", "result", "outputs_expire_at")
    finished = {name: options.pop(name) for name in names if name in options}
    begun(store, request_id, **options)
    return finish(store, request_id, **finished)


def begin(store: RequestStore, request_id: str) -> str:
    """Let execution "e" make a request that waits."""
    store.claim(request_id, Stage.PREPARE, "e")
    store.advance(request_id, Stage.PREPARE, "e", prepared())
    store.claim(request_id, Stage.GENERATE, "e")
    return request_id


def finish(
    store: RequestStore,
    request_id: str,
    outputs: Sequence[Output] = (output(0), output(1)),
    control_map: StoredPicture | None = None,
    result: StageResult | None = None,
    outputs_expire_at: int | None = None,
) -> str:
    """Let a request that is being made be COMPLETED with these pictures. result: of GENERATE."""
    store.advance(request_id, Stage.GENERATE, "e", result or generated())
    store.claim(request_id, Stage.FINISH, "e")
    finished = FinishResult(tuple(outputs), control_map, None, outputs_expire_at)
    store.complete(request_id, "e", finished)
    return request_id


def failed(
    store: RequestStore, error: RequestFailed, request_id: str = REQUEST_ID, **options: Any
) -> str:
    """The same, FAILED while it was made."""
    begun(store, request_id, **options)
    store.fail(request_id, error, "e")
    return request_id
