"""Records of requests for tests: as values, and as the store of a server holds them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from app.core.errors import RequestFailed
from app.core.requests.record import RequestRecord, Stage, Status
from app.core.requests.store import RequestStore

REQUEST_ID = "0123456789abcdef" * 2

PARAMS: dict[str, Any] = {
    "prompt": "an astronaut",
    "sampler": "euler",
    "scheduler": "simple",
    "seed": 652889,
    "base64": False,
    "cn_stop": 0.5,
    "cn_strength": 0.45,
    "cn_type": "pose",
    "custom_height": 1024,
    "custom_width": 1024,
    "guidance": 3.5,
    "image_format": "jpeg",
    "quality": 95,
    "samples": 2,
    "steps": 20,
    "use_input_img_dimension": True,
    "profile": "",
    "preview": False,
}

CONTROL_MAP: dict[str, Any] = {
    "file_name": "map.png",
    "content_type": "image/png",
    "file_size": 77,
    "width": 528,
    "height": 272,
    "sha256": "5" * 64,
    "pixels_sha256": "6" * 64,
}

MADE_WITH: dict[str, Any] = {
    "checkpoint": "demo",
    "weights": {"transformer": "7" * 64},
    "device": "cpu",
    "dtype": "float32",
    "mu": 1.15,
    "sigmas_sha256": "8" * 64,
    "versions": {"torch": "2.0"},
}


def output(number: int = 0, **changes: Any) -> dict[str, Any]:
    """One finished picture of a record."""
    made = {
        "file_name": f"{number}.jpeg",
        "content_type": "image/jpeg",
        "file_size": 1000 + number,
        "width": 520,
        "height": 264,
        "seed": 652889 + number,
        "sha256": str(number) * 64,
        "pixels_sha256": str(number + 3) * 64,
    }
    return made | changes


COMPLETED = RequestRecord(
    id=REQUEST_ID,
    owner="team-a",
    status=Status.COMPLETED,
    params=PARAMS,
    source={"field": "image", "kind": "base64"},
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
    key="abcdef012345",
    price=1.0,
    cost=5.5,
    remaining=94.5,
    made_with=MADE_WITH,
)
"""Two pictures, made in 13 of the 15 seconds since the submission."""


def record(**changes: Any) -> RequestRecord:
    """COMPLETED, but for `changes`."""
    return replace(COMPLETED, **changes)


def queued(store: RequestStore, request_id: str = REQUEST_ID, **options: Any) -> str:
    """A request of team-a that waits. Its id. options: of RequestStore.submit."""
    given: dict[str, Any] = {"owner": "team-a", "params": PARAMS, "source": COMPLETED.source}
    given |= {"expires_at": store.expiry(), **options}
    store.submit(request_id, **given)
    return request_id


def begun(store: RequestStore, request_id: str = REQUEST_ID, **options: Any) -> str:
    """The same, being made by execution "e"."""
    queued(store, request_id, **options)
    return begin(store, request_id)


def completed(store: RequestStore, request_id: str = REQUEST_ID, **options: Any) -> str:
    """The same, COMPLETED, without the bytes of its pictures. options: of finish() too."""
    names = ("outputs", "control_map", "made_with")
    made = {name: options.pop(name) for name in names if name in options}
    begun(store, request_id, **options)
    return finish(store, request_id, **made)


def begin(store: RequestStore, request_id: str) -> str:
    """Let execution "e" make a request that waits."""
    store.claim(request_id, Stage.PREPARE, "e")
    store.advance(request_id, Stage.PREPARE, "e", {"width": 528, "height": 272, "work": 5.5})
    store.claim(request_id, Stage.GENERATE, "e")
    return request_id


def finish(
    store: RequestStore,
    request_id: str,
    outputs: Sequence[Mapping[str, Any]] = (output(0), output(1)),
    control_map: Mapping[str, Any] | None = None,
    made_with: Mapping[str, Any] = MADE_WITH,
) -> str:
    """Let a request that is being made be COMPLETED with these pictures."""
    made: dict[str, Any] = {"inference_s": 13.5, "evaluations": 40, "controlled": 20}
    made |= {"profile": "fast", "made_with": made_with}
    if control_map is not None:
        made["control_map"] = control_map
    store.advance(request_id, Stage.GENERATE, "e", made)
    store.claim(request_id, Stage.FINISH, "e")
    store.complete(request_id, "e", {"outputs": list(outputs)})
    return request_id


def failed(
    store: RequestStore, error: RequestFailed, request_id: str = REQUEST_ID, **options: Any
) -> str:
    """The same, FAILED while it was made."""
    begun(store, request_id, **options)
    store.fail(request_id, error, "e")
    return request_id
