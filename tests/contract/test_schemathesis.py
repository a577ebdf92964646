"""/openapi.json is correct: schemathesis finds no server error and no undocumented response.

The responses that only real work produces match their schemas too.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from schemathesis.schemas import BaseSchema

from app.core.accounts.api_keys import KeyStore, Terms
from app.core.redis.connection import connect
from tests.support.bodies import slow, small
from tests.support.servers import Server, a_key, running_api, running_redis
from tests.support.wire import V1, V2, finished, wait_for_end

EVENTS = "/v2/requests/{request_id}/events"

HISTORY = "/inference-request/request-history"
PREPROCESS = f"{V1}/preprocess"
OPENAI = ("/v1/images/edits", "/v1/images/generations")

# Numbers may come as text and booleans as numbers, so what breaks the schema may be accepted.
CONFIGURATION = """
[checks]
negative_data_rejection.enabled = false
positive_data_acceptance.expected-statuses = {accepted}

# A schema cannot say that cn_start is not above cn_stop, and the like.
[[operations]]
include-path = "{V2}"
[operations.checks]
negative_data_rejection.enabled = false
positive_data_acceptance.expected-statuses = {accepted_of_v2}
"""


def fuzz(folder: Path, url: str, key: str, accepted: list[object], *options: str) -> None:
    """Let schemathesis loose; its report is the message when it finds something."""
    configuration = folder / "schemathesis.toml"
    values = {"accepted": accepted, "V2": V2, "accepted_of_v2": [*accepted, 400]}
    configuration.write_text(CONFIGURATION.format_map(values))
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(configuration)]
    command += ["run", f"{url}/openapi.json", "--header", f"x-api-key: {key}", "--seed", "1"]
    command += ["--generation-database", "none", "--request-timeout", "60", "--no-color", *options]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr


def test_without_workers(tmp_path: Path) -> None:
    """Every endpoint but those that wait; every body that the schema allows is accepted, unless
    its key is in use (409), and what was accepted may be cancelled (422). On v2 values that do not
    go together are refused (400)."""
    with (
        running_redis(tmp_path / "redis") as redis_url,
        running_api(redis_url, ready=False) as url,
    ):
        options: tuple[str, ...] = ("--max-examples", "10")
        for path in (V1, PREPROCESS, *OPENAI, EVENTS, HISTORY, "/upload-asset", "/health/ready"):
            options += ("--exclude-path", path)
        fuzz(tmp_path, url, a_key(redis_url), ["2xx", 401, 403, 404, 409, 422], *options)


def test_with_workers(tmp_path: Path, server: Server) -> None:
    """Those that wait, on pictures of a thumb's size; one that cannot be read is 400, and so is
    what else a schema cannot say: an upload that is no picture, too many days of history.
    """
    with running_api(server.redis_url, MAX_PIXELS="4096") as url:
        options: tuple[str, ...] = ()
        for path in (V1, PREPROCESS, *OPENAI, EVENTS, HISTORY, "/upload-asset"):
            options += ("--include-path", path)
        options += ("--include-path", "/health/ready", "--phases", "fuzzing")
        fuzz(tmp_path, url, server.key, ["2xx", 400, 404, 409], *options, "--max-examples", "10")


@pytest.mark.parametrize("encoded", [False, True], ids=["picture", "base64"])
def test_v1_answers_as_documented(http: httpx.Client, document: BaseSchema, encoded: bool) -> None:
    answer = http.post(V1, json=small(base64=encoded, samples=2))
    assert answer.status_code == 200
    document[V1]["POST"].validate_response(answer)


@pytest.mark.parametrize("encoded", [False, True], ids=["links", "base64"])
@pytest.mark.parametrize("good", [True, False], ids=["completed", "failed"])
def test_v2_answers_as_documented(
    http: httpx.Client, document: BaseSchema, encoded: bool, good: bool
) -> None:
    body = small(base64=encoded, samples=2, **({} if good else {"image": "no picture"}))
    submitted = http.post(V2, json=body)
    document[V2]["POST"].validate_response(submitted)
    request_id = submitted.json()["request_id"]
    paths = ("/v2/requests/{request_id}/status", "/v2/requests/{request_id}")
    polls = (*paths, "/v1/requests/{request_id}")
    for path in polls:
        document[path]["GET"].validate_response(http.get(path.format(request_id=request_id)))
    wait_for_end(http, polls[0].format(request_id=request_id))
    for path in polls:
        answer = http.get(path.format(request_id=request_id))
        assert answer.status_code == (200 if good else 422)
        document[path]["GET"].validate_response(answer)


def test_events_answer_as_documented(http: httpx.Client, document: BaseSchema) -> None:
    request_id = finished(http, small())["request_id"]
    path, operation = EVENTS.format(request_id=request_id), document[EVENTS]["GET"]
    stream = http.get(path)
    operation.validate_response(stream)
    last = stream.text.rpartition("id: ")[2].partition("\n")[0]
    for after, status in ((last, 204), ("none", 400)):
        answer = http.get(path, headers={"last-event-id": after})
        assert answer.status_code == status
        operation.validate_response(answer)


@pytest.mark.parametrize("good", [True, False], ids=["completed", "cancelled"])
def test_cancelling_answers_as_documented(
    http: httpx.Client, document: BaseSchema, good: bool
) -> None:
    path = "/v2/requests/{request_id}"
    ended = finished(http, small()) if good else http.post(V2, json=slow()).json()
    answer = http.delete(path.format(request_id=ended["request_id"]))
    assert answer.json()["status"] == ("COMPLETED" if good else "FAILED")
    document[path]["DELETE"].validate_response(answer)


def test_a_conflict_is_documented(http: httpx.Client, document: BaseSchema) -> None:
    key = {"idempotency-key": "schemathesis"}
    http.post(V2, json=small(), headers=key)
    for path in (V1, V2):
        answer = http.post(path, json=small(steps=16), headers=key)
        assert answer.status_code == 409
        document[path]["POST"].validate_response(answer)


def test_a_file_answers_as_documented(http: httpx.Client, document: BaseSchema) -> None:
    submitted = http.post(V2, json=small(image_format="webp"))
    result = wait_for_end(http, submitted.json()["response_url"]).json()
    answer = http.get(result["output"])
    assert answer.headers["content-type"] == "image/webp"
    document["/files/{request_id}/{file_name}"]["GET"].validate_response(answer)


def test_keys_and_credits_answer_as_documented(server: Server, document: BaseSchema) -> None:
    with connect(server.redis_url) as redis:
        store = KeyStore(redis)
        secret, admin = store.create("root", Terms(admin=True))
        with httpx.Client(base_url=server.url, headers={"x-api-key": secret}) as http:
            path = "/admin/keys"
            made = http.post(path, json={"name": "a", "credits": 1, "rpm": 2, "expires": "1d"})
            document[path]["POST"].validate_response(made)
            document[path]["POST"].validate_response(http.post(path, json={"name": ""}))
            document[path]["GET"].validate_response(http.get(path))
            credits = f"{path}/{made.json()['id']}/credits"
            topped = http.post(credits, json={"credits": 0.5})
            document[f"{path}/{{key_id}}/credits"]["POST"].validate_response(topped)
            own = {"x-api-key": made.json()["key"]}
            left = http.get("/v1/get-user-credits", headers=own)
            document["/v1/get-user-credits"]["GET"].validate_response(left)
            assert (topped.status_code, left.json()["credits"]) == (200, 1.5)
            dear = small(steps=75, samples=4)
            for slug, status in ((V1, 406), (V2, 402), (V1, 429), (V2, 429)):
                answer = http.post(slug, json=dear, headers=own)
                document[slug]["POST"].validate_response(answer)
                assert answer.status_code == status
            for _ in range(2):
                gone = http.delete(credits.removesuffix("/credits"))
                document[f"{path}/{{key_id}}"]["DELETE"].validate_response(gone)
            assert gone.status_code == 404
        store.revoke(admin.id)


TEXT = {"content-type": "text/plain"}
NO_KEY = {"x-api-key": ""}


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        *(("POST", V1, NO_KEY, 401), ("POST", V2, NO_KEY, 401), ("POST", V1, TEXT, 406)),
        *(("POST", V2, TEXT, 406), ("GET", "/v1/requests/{request_id}", NO_KEY, 401)),
        ("GET", "/v2/requests/{request_id}", NO_KEY, 401),
        ("GET", "/v2/requests/{request_id}/status", NO_KEY, 401),
        ("GET", "/v2/requests/{request_id}/status", {"x-api-key": "SG_wrong"}, 401),
        ("GET", "/v2/requests/{request_id}/status", {"host": "elsewhere.example"}, 404),
        ("POST", V2, {"x-long": "a" * 40_000}, 431),
    ],
)
def test_refusals_are_documented(
    http: httpx.Client,
    document: BaseSchema,
    method: str,
    path: str,
    headers: dict[str, str],
    status: int,
) -> None:
    answer = http.request(method, path, headers=headers)
    assert answer.status_code == status
    operation = document[path][method]
    assert str(status) in operation.definition.raw["responses"]
    operation.validate_response(answer)
