"""The one parameter of our own: `profile`, and where an answer says which one was used."""

from __future__ import annotations

import httpx
import pytest

from models.evaluations import evaluations_of
from models.geometry import work_units
from models.spec import PROFILE_NAMES
from tests.support.bodies import small
from tests.support.pictures import opened
from tests.support.wire import V1, V2, finished, picture, wait_for_end


@pytest.mark.parametrize("profile", PROFILE_NAMES)
def test_v2_reports_the_profile_in_its_metrics(http: httpx.Client, profile: str) -> None:
    """As JSON: in the result and in the status of a COMPLETED request."""
    result = finished(http, small(profile=profile))
    assert result["metrics"]["profile"] == profile
    status = http.get(f"/v2/requests/{result['request_id']}/status").json()
    assert status["metrics"] == result["metrics"]


@pytest.mark.parametrize("profile", PROFILE_NAMES)
def test_v1_reports_the_profile(http: httpx.Client, profile: str) -> None:
    """As a header, and with base64 in the body too."""
    answer = http.post(V1, json=small(profile=profile))
    assert opened(answer.content).size == (128, 128)
    assert answer.headers["x-profile"] == profile
    encoded = http.post(V1, json=small(profile=profile, base64=True))
    assert encoded.headers["x-profile"] == encoded.json()["profile"] == profile


def test_a_form_may_name_a_profile(http: httpx.Client) -> None:
    body = {name: (None, str(value)) for name, value in small(profile="fast").items()}
    submitted = http.post(V2, files=body)
    result = wait_for_end(http, submitted.json()["response_url"]).json()
    assert result["metrics"]["profile"] == "fast"


def test_without_a_profile_it_is_the_servers_own(http: httpx.Client) -> None:
    """PROFILE is exact here: the same bytes, and no key that the hosted service does not have."""
    answer = http.post(V1, json=small(seed=5))
    assert answer.headers["x-profile"] == "exact"
    assert answer.content == picture(http, small(seed=5, profile="exact"))
    assert "profile" not in http.post(V1, json=small(base64=True)).json()


def test_work_units_are_there_when_a_request_has_ended(http: httpx.Client) -> None:
    body = small(sampler="heun", scheduler="ddim_uniform", samples=2)
    metrics = finished(http, body)["metrics"]
    evaluations = evaluations_of("heun", "ddim_uniform", body["steps"])
    assert metrics["model_evaluations"] == 2 * evaluations
    assert metrics["work_units"] == pytest.approx(work_units((128, 128), evaluations, samples=2))
