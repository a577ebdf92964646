"""Where an accepted request begins."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from app.api.schemas import FluxControlNetBody, parse_body
from app.api.services import Services
from app.api.submission import Submission, submit
from app.core.keys import Key
from app.core.links import output_path, upload_path
from app.core.record import Stage

CALLER = Key("k", "team-a", 0.0)
PLACES: dict[str, tuple[Callable[[Services], str], Stage]] = {
    "elsewhere": (lambda _: "https://pictures.example/a.png", Stage.FETCH),
    "inline": (lambda _: "aGVsbG8=", Stage.PREPARE),
    "an earlier result": (
        lambda services: link(services, output_path("a" * 32, "0.png")),
        Stage.PREPARE,
    ),
    "an upload": (lambda services: link(services, upload_path("b" * 64, "png")), Stage.PREPARE),
    "a link of ours that has expired": (
        lambda services: link(services, output_path("a" * 32, "0.png"), expires_at=1),
        Stage.FETCH,
    ),
}


def link(services: Services, path: str, expires_at: int = 4_000_000_000) -> str:
    return "https://pictures.example" + services.links.sign(path, expires_at)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("field", ["image", "control_image"])
def test_only_a_picture_on_another_server_is_downloaded(
    services: Services, place: str, field: str
) -> None:
    image, stage = PLACES[place]
    body = {"image": "aGVsbG8=", "prompt": "x", field: image(services)}
    submission = Submission(parse_body(FluxControlNetBody, body), None)
    request_id = submit(services, CALLER, submission)
    record = services.requests.get(request_id)
    assert record is not None
    assert record.stage is stage
    assert services.jobs.carried() == {(request_id, stage)}
