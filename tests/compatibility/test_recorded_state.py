"""Upgrade: a server on the recorded state of the previous version continues its work.

This covers waiting requests, ended ones, keys, uploads, webhooks and the history. README.md
describes the recording.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from standardwebhooks import Webhook

from app.commands.receipt_files import read_statement
from app.core.accounts.usage import Usage, Window
from app.core.receipts import ReceiptSigner, digest
from app.core.redis.connection import connect
from tests.support.pictures import astronaut, encoded, opened, picture_host
from tests.support.receivers import Receiver, receiver
from tests.support.recorded_state import read_state
from tests.support.servers import Server, running_api, running_redis, running_server
from tests.support.waiting import until
from tests.support.wire import V2, wait_for_end

pytestmark = pytest.mark.timeout(600)

RECORDINGS = sorted((Path(__file__).parent / "data").glob("*.json.xz"))
WAITING = (
    *("fetch", "cpu", "cpu, its picture uploaded", "held until its key has room"),
    *("gpu", "gpu, its worker dead", "finish"),
)
ENDED = (
    *("completed", "completed, its webhook refused once", "completed, its webhook due"),
    *("failed", "cancelled"),
)
SIZES = {"fetch": (72, 64), "cpu, its picture uploaded": (80, 64)}
"""Of the pictures that are not 64x64."""

_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+(Z|[+-]\d\d:\d\d)")


@dataclass(frozen=True)
class Upgraded:
    """A server of this version on a recording. notes: of the recorder. ended: the requests that
    had ended. listening: whom the webhooks reach."""

    server: Server
    notes: Mapping[str, Any]
    ended: Mapping[str, Any]
    listening: Receiver

    def client(self, key: str = "budget") -> httpx.Client:
        headers = {"x-api-key": self.notes["keys"][key]}
        return httpx.Client(base_url=self.server.url, headers=headers, timeout=60)

    def local(self, url: str) -> str:
        """A link of the server as its path."""
        return url.removeprefix(self.notes["public_url"])


@pytest.fixture(scope="module", params=RECORDINGS, ids=lambda file: file.name.split(".json")[0])
def upgraded(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Upgraded]:
    folder = tmp_path_factory.mktemp("upgraded")
    data_dir, blobs, database = folder / "data", folder / "blobs", folder / "history"
    state = read_state(request.param)
    with ExitStack() as stack:
        host = stack.enter_context(picture_host())
        host.serve("/picture.png", encoded(astronaut(SIZES["fetch"])))
        listening = stack.enter_context(receiver())
        now = {"pictures": host.origin, "receiver": listening.url.removesuffix("/hook")}
        renamed = {then: now[name] for name, then in state.notes["hosts"].items()}
        with running_redis(data_dir) as url, connect(url) as redis:
            state.into(redis, blobs, database, renamed)
        server = stack.enter_context(
            running_server(
                data_dir,
                API_KEY=state.notes["keys"]["installation"],
                PUBLIC_URL=state.notes["public_url"],
                BLOB_URL=f"file://{blobs}",
                DATABASE_URL=f"sqlite:///{database}",
                HISTORY_DAYS="3650",
                FETCH_ALLOW_HOSTS="127.0.0.1",
            )
        )
        yield Upgraded(server, state.notes, state.notes["ended"], listening)


def differences(before: Any, now: Any, where: str = "") -> list[str]:
    """What an answer of then said that it does not say any more. New fields are no difference, nor
    are a moment in another format and the signature of a receipt, which covers its moments.
    """
    if isinstance(before, dict) and isinstance(now, dict):
        gone = [f"{where}.{name} is gone" for name in before if name not in now]
        both = [name for name in before if name in now]
        return gone + [
            line
            for name in both
            for line in differences(before[name], now[name], f"{where}.{name}")
        ]
    if isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        pairs = enumerate(zip(before, now, strict=True))
        return [line for at, (a, b) in pairs for line in differences(a, b, f"{where}[{at}]")]
    same = before == now or _instant(before) == _instant(now) is not None
    if same or where.endswith("/receipt.signature.value"):
        return []
    return [f"{where} was {before!r} and is {now!r}"]


def _instant(value: object) -> datetime | None:
    """The moment in a text with a time and a zone, to the millisecond."""
    if not isinstance(value, str) or not _MOMENT.fullmatch(value):
        return None
    moment = datetime.fromisoformat(value)
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def result_of(upgraded: Upgraded, name: str) -> dict[str, Any]:
    """Of a request that was waiting; once it has been COMPLETED."""
    key, request_id = upgraded.notes["waiting"][name]
    with httpx.Client(
        base_url=upgraded.server.url, headers={"x-api-key": key}, timeout=60
    ) as client:
        answer = wait_for_end(client, f"/v2/requests/{request_id}")
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def test_every_kind_of_request_was_recorded(upgraded: Upgraded) -> None:
    assert set(upgraded.notes["waiting"]) == set(WAITING)
    assert set(upgraded.ended) == set(ENDED)


@pytest.mark.parametrize("name", WAITING)
def test_a_request_that_waited_is_completed_with_its_pictures(
    upgraded: Upgraded, name: str
) -> None:
    result = result_of(upgraded, name)
    assert len(result["images"]) == (4 if name == "gpu, its worker dead" else 1)
    for image in result["images"]:
        file = httpx.get(upgraded.server.url + upgraded.local(image["url"]), timeout=60)
        assert opened(file.content).size == SIZES.get(name, (64, 64))


@pytest.mark.parametrize("name", ENDED)
def test_a_request_that_had_ended_is_answered_as_before(upgraded: Upgraded, name: str) -> None:
    before = upgraded.ended[name]
    with upgraded.client() as client:
        for path, (status, content) in before["answers"].items():
            if path.endswith("/webhook") and "its webhook" in name:
                continue  # which has been sent by now
            answer = client.get(path)
            assert answer.status_code == status, f"{path}: {answer.text}"
            assert differences(content, answer.json(), path) == []
        for path, sha256 in before["files"].items():
            assert digest(client.get(path).content) == sha256, path


def test_a_receipt_of_before_is_genuine(upgraded: Upgraded, tmp_path: Path) -> None:
    [(status, receipt)] = [
        answer
        for path, answer in upgraded.ended["completed"]["answers"].items()
        if path.endswith("/receipt")
    ]
    assert status == 200
    (tmp_path / "receipt.json").write_text(json.dumps(receipt))
    [picture, *_] = upgraded.ended["completed"]["files"]
    (tmp_path / "picture").write_bytes(httpx.get(upgraded.server.url + picture).content)
    with upgraded.client() as client:
        answer = client.get(f"/v2/requests/{upgraded.ended['completed']['request_id']}/receipt")
    (tmp_path / "receipt of now.json").write_text(answer.text)
    with connect(upgraded.server.redis_url) as redis:
        signer = ReceiptSigner(redis)
        for name in ("receipt.json", "receipt of now.json", "picture"):
            assert read_statement(tmp_path / name).fault(signer) is None, name


def test_the_credits_of_a_key_are_those_of_before(upgraded: Upgraded) -> None:
    results = [answer for one in upgraded.ended.values() for answer in one["answers"].values()]
    ended = [body for status, body in results if status == 200 and "images" in body]
    costs = {body["request_id"]: body["metrics"]["cost"] for body in ended}
    spent = sum(costs.values())
    for name, (key, _) in upgraded.notes["waiting"].items():
        if key == upgraded.notes["keys"]["budget"]:
            spent += result_of(upgraded, name)["metrics"]["cost"]
    assert spent > 0
    with upgraded.client() as client:
        left = client.get("/v1/get-user-credits").json()["credits"]
    assert left == pytest.approx(upgraded.notes["credits"] - spent, abs=1e-9)


def test_what_waited_counts_in_the_usage_of_its_key(upgraded: Upgraded) -> None:
    """Its record is of the version before, which counted nothing."""
    results = {name: result_of(upgraded, name)["metrics"] for name in WAITING}
    with connect(upgraded.server.redis_url) as redis:
        rows = Usage(redis).rows(Window.of(None, None), [])
    [sums] = rows
    assert (sums["requests"], sums["completed"], sums["failed"]) == (len(WAITING), len(WAITING), 0)
    assert sums["credits"] == pytest.approx(sum(of["cost"] for of in results.values()))
    assert sums["gpu_seconds"] == pytest.approx(
        sum(of["inference_time"] for of in results.values()), abs=0.01
    )


def test_an_idempotency_key_is_that_of_its_request(upgraded: Upgraded) -> None:
    before = upgraded.notes["idempotent"]
    with upgraded.client() as client:
        headers = {"idempotency-key": before["key"]}
        again = client.post(V2, json=before["body"], headers=headers)
        assert again.json()["request_id"] == before["request_id"]
        other = client.post(V2, json={**before["body"], "steps": 16}, headers=headers)
        assert other.status_code == 409


def test_webhooks_that_were_due_are_sent(upgraded: Upgraded) -> None:
    expected = {upgraded.ended[name]["request_id"] for name in ENDED if "its webhook" in name}
    expected.add(upgraded.notes["waiting"]["finish"][1])
    verify = Webhook(upgraded.notes["webhook_secret"]).verify
    sent = set()
    while sent != expected:
        posted = upgraded.listening.next()
        message = verify(posted.body, posted.headers)
        assert message["type"] == "request.completed"
        sent.add(message["data"]["request_id"])
    with upgraded.client() as client:
        request_id = upgraded.ended["completed, its webhook refused once"]["request_id"]
        path = f"/v2/requests/{request_id}/webhook"
        until(lambda: client.get(path).json()["state"] == "delivered", "the log")
        codes = [attempt["status_code"] for attempt in client.get(path).json()["attempts"]]
    assert codes == [500, 204]


def test_the_history_lists_what_was_and_what_has_ended_since(upgraded: Upgraded) -> None:
    recorded = datetime.fromtimestamp(upgraded.notes["recorded_at"], UTC).date()
    days = {"from_date": recorded - timedelta(1), "to_date": recorded + timedelta(1)}
    query = {"per_page": 100, **{name: str(day) for name, day in days.items()}}
    budget = upgraded.notes["keys"]["budget"]
    waited = [one for key, one in upgraded.notes["waiting"].values() if key == budget]
    before = {one["request_id"] for one in upgraded.ended.values()}

    def ended() -> set[str]:
        answer = client.get("/inference-request/request-history", params=query)
        rows = answer.json()["data"]
        return {row["request_id"] for row in rows if row["model_status"] != "PENDING"}

    with upgraded.client() as client:
        until(lambda: ended() == before | set(waited), "the history to know of all", 200)


def test_state_kept_in_redis_is_readable_without_folder_and_database(
    upgraded: Upgraded,
) -> None:
    settings = {"PUBLIC_URL": upgraded.notes["public_url"], "HISTORY_DAYS": "3650"}
    before = upgraded.notes["in_redis"]["in redis"]
    headers = {"x-api-key": upgraded.notes["keys"]["installation"]}
    with (
        running_api(upgraded.server.redis_url, **settings) as url,
        httpx.Client(base_url=url, headers=headers, timeout=60) as client,
    ):
        for path, (status, content) in before["answers"].items():
            answer = client.get(path)
            assert answer.status_code == status, f"{path}: {answer.text}"
            assert differences(content, answer.json(), path) == []
        [(path, sha256)] = before["files"].items()
        assert digest(client.get(path).content) == sha256
        listed = client.get("/inference-request/generations").json()["generations"]
        assert [row["request_id"] for row in listed] == [before["request_id"]]
