"""Webhook messages: allowed URLs, the content, and a signature that a receiver can verify."""

from __future__ import annotations

import base64
import hmac
import json
import time
from types import SimpleNamespace

import pytest
from redis import Redis
from standardwebhooks import Webhook, WebhookVerificationError

from app.core.egress.addresses import AllowList
from app.core.errors import UrlRejected
from app.core.requests.record import RequestRecord, Status
from app.core.requests.types import WebhookTarget
from app.core.requests.warnings import RequestWarning
from app.core.storage.links import LinkSigner
from app.core.webhooks import message as module
from app.core.webhooks.message import (
    OVERLAP_S,
    Secret,
    WebhookSecrets,
    check_key_target,
    check_target,
    payload,
    signature,
)
from tests.support.records import PARAMS, REQUEST_ID, SOURCE, record

NOBODY = AllowList.parse(())


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/",
        "http://10.1.2.3/hook",
        "https://192.168.0.1:8443/",
        "http://169.254.169.254/latest/meta-data",
        "http://[::1]/",
        "http://[::ffff:10.0.0.1]/",
        "http://[fd00::1]/",
        "http://2130706433/",
        "http://0x7f.1/",
        "http://127.1/",
        "http://0177.0.0.1/",
        "http://\uff1127.0.0.1/",
        "http://localhost/",
        "http://LOCALHOST./",
        "http://a.localhost/",
        "http://redis/",
        "http://api:8080/",
        "http://printer.local/",
        "http://metadata.google.internal/",
        "https://box.home.arpa/",
        "https://nas.lan/",
        "https://Wiki.Intranet./",
    ],
)
def test_a_webhook_url_of_an_internal_host_is_refused(url: str) -> None:
    with pytest.raises(UrlRejected) as refused:
        check_target(url, NOBODY)
    assert refused.value.reason == "its host is not allowed"


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("ftp://a.example/", "only http and https are allowed"),
        ("/relative", "only http and https are allowed"),
        ("https://user:secret@a.example/", "it must not carry credentials"),
        ("https://a.example:22/", "its port is not allowed"),
        ("https://", "it is malformed"),
        ("https://a.example/\ud800", "it is malformed"),
        ("https://a b.example/", "its host name is malformed"),
    ],
)
def test_an_invalid_webhook_url_is_refused(url: str, reason: str) -> None:
    with pytest.raises(UrlRejected) as refused:
        check_target(url, NOBODY)
    assert refused.value.reason == reason


@pytest.mark.parametrize(
    "url", ["https://a.example/x?y=z", "http://93.184.215.14:8080/", "https://[2606:4700::1]/"]
)
def test_a_webhook_url_of_a_public_host_is_accepted(url: str) -> None:
    check_target(url, NOBODY)


@pytest.mark.parametrize(
    ("entry", "url"),
    [
        ("hooks.internal", "http://hooks.internal:9000/"),
        ("127.0.0.1:9000", "http://127.0.0.1:9000/"),
        ("10.0.0.0/8", "http://10.1.2.3:9000/"),
    ],
)
def test_a_webhook_url_of_an_allowed_host_is_accepted(entry: str, url: str) -> None:
    check_target(url, AllowList.parse((entry,)))


def test_a_receiver_verifies_and_sees_what_was_changed(redis: Redis) -> None:
    keys, now, body = WebhookSecrets(redis).of("a").live(), int(time.time()), '{"a":1}'
    headers = {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(now),
        "webhook-signature": signature(keys, "msg_1", now, body),
    }
    assert Webhook(keys[0]).verify(body, headers) == {"a": 1}
    for changed in ({"webhook-id": "msg_2"}, {"webhook-timestamp": str(now - 1)}):
        with pytest.raises(WebhookVerificationError):
            Webhook(keys[0]).verify(body, headers | changed)
    with pytest.raises(WebhookVerificationError):
        Webhook(keys[0]).verify(body + " ", headers)


def test_a_rotated_secret_signs_in_addition_to_the_new_one_for_a_while(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = WebhookSecrets(redis)
    old = store.of("a")
    assert store.of("a") == old
    assert store.of("b").current != old.current
    new = store.rotate("a")
    assert store.of("a").live() == [new.current, old.current]
    now = int(time.time())
    signed = signature(new.live(), "msg_1", now, "{}")
    for key in (new.current, old.current):
        headers = {"webhook-id": "msg_1", "webhook-timestamp": str(now)}
        Webhook(key).verify("{}", headers | {"webhook-signature": signed})
    for after_s, live in ((86_399.9, [new.current, old.current]), (86_400, [new.current])):
        moment = new.rotated_at + after_s
        monkeypatch.setattr(module, "time", SimpleNamespace(time=lambda moment=moment: moment))
        assert store.of("a").live() == live


def test_a_failed_request_says_why(redis: Redis) -> None:
    record = RequestRecord(
        id="a" * 32,
        owner="x",
        status=Status.FAILED,
        params=PARAMS,
        source=SOURCE,
        created_at=0.0,
        expires_at=3600.0,
        ended_at=1.5,
        error="image: no",
        webhook=WebhookTarget("https://a.example/", "https://b.example/api"),
    )
    assert json.loads(payload(record, LinkSigner(redis))) == {
        "type": "request.failed",
        "timestamp": "1970-01-01T00:00:01.500Z",
        "data": {
            "request_id": record.id,
            "status": "FAILED",
            "error": "image: no",
            "response_url": f"https://b.example/api/v2/requests/{record.id}",
            "status_url": f"https://b.example/api/v2/requests/{record.id}/status",
        },
    }


def test_a_message_has_the_warnings_of_its_request(redis: Redis) -> None:
    warning = RequestWarning("prompt_cut", "prompt", "CLIP read 77 of 90 tokens")
    webhook = WebhookTarget("https://a.example/", "https://b.example")
    for status in (Status.COMPLETED, Status.FAILED):
        ended = record(webhook=webhook, status=status, warnings=(warning,))
        data = json.loads(payload(ended, LinkSigner(redis)))["data"]
        assert data["warnings"] == [warning.to_body()]


@pytest.mark.usefixtures("far_from_utc")
def test_a_completed_request_names_its_pictures_and_its_end_in_utc(redis: Redis) -> None:
    webhook = WebhookTarget("https://a.example/", "http://[2001:db8::1]:8000")
    links = LinkSigner(redis)
    said = json.loads(payload(record(webhook=webhook), links))
    url = f"{webhook.origin}/v2/requests/{REQUEST_ID}"
    path = f"/files/{REQUEST_ID}/0.jpeg"
    assert said["data"]["images"][0] == {
        "url": webhook.origin + links.sign(path, 1_700_003_600),
        "content_type": "image/jpeg",
        "file_name": "0.jpeg",
        "file_size": 1000,
        "width": 520,
        "height": 264,
        "seed": "652889",
    }
    assert len(said["data"].pop("images")) == 2
    assert said == {
        "type": "request.completed",
        "timestamp": "2023-11-14T22:13:35.500Z",
        "data": {
            "request_id": REQUEST_ID,
            "status": "COMPLETED",
            "error": None,
            "response_url": url,
            "status_url": f"{url}/status",
            "seed": "652889",
        },
    }


@pytest.mark.parametrize(("length", "taken"), [(2048, True), (2049, False)])
def test_the_webhook_of_a_key_has_at_most_2048_characters(length: int, taken: bool) -> None:
    url = "https://a.example/".ljust(length, "a")
    if taken:
        check_key_target(url, NOBODY)
    else:
        with pytest.raises(ValueError, match="^webhook_url: a URL has at most 2048 characters$"):
            check_key_target(url, NOBODY)


def test_the_webhook_of_a_key_may_be_none_and_not_inside() -> None:
    check_key_target("", NOBODY)
    with pytest.raises(ValueError, match="^webhook_url: the URL cannot be used: its host is not"):
        check_key_target("http://10.0.0.1/", NOBODY)


@pytest.mark.parametrize("port", [80, 443, 8080, 8443, 81, 444, 8000, 65535])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_webhook_goes_to_ports_of_the_web(scheme: str, port: int) -> None:
    url = f"{scheme}://a.example:{port}/"
    if port in (80, 443, 8080, 8443):
        check_target(url, NOBODY)
    else:
        with pytest.raises(UrlRejected, match="its port is not allowed"):
            check_target(url, NOBODY)


@pytest.mark.parametrize(
    ("entry", "url", "taken"),
    [
        ("hooks.corp:443", "https://HOOKS.corp./", True),
        ("hooks:443", "https://hooks/", True),
        ("hooks:80", "https://hooks/", False),
        ("hooks:80", "http://hooks/", True),
        ("[fd00:0::1]:9000", "http://[FD00::1]:9000/", True),
        ("[fd00::1]:9000", "http://[fd00::1]:9001/", False),
        ("fd00::/8", "http://[fd00::1]:9001/", True),
        ("127.0.0.1/32", "http://127.1:9/", True),
    ],
)
def test_an_allowed_webhook_host_is_recognised_in_every_spelling(
    entry: str, url: str, taken: bool
) -> None:
    allow = AllowList.parse((entry,))
    if taken:
        check_target(url, allow)
    else:
        with pytest.raises(UrlRejected, match=r"its (host|port) is not allowed"):
            check_target(url, allow)


def test_the_overlap_of_two_secrets_is_a_day(monkeypatch: pytest.MonkeyPatch) -> None:
    assert OVERLAP_S == 86_400
    secret = Secret("new", "old", rotated_at=1000.0)
    for now, live in ((87_399.9, ["new", "old"]), (87_400.0, ["new"])):
        monkeypatch.setattr(time, "time", lambda now=now: now)
        assert secret.live() == live
    assert Secret("only").live() == ["only"]


def test_a_message_has_no_spaces_between_its_parts(redis: Redis) -> None:
    """What is signed is the text, to the byte."""
    text = payload(
        record(status=Status.FAILED, error="x", webhook=WebhookTarget("https://a.example/")),
        LinkSigner(redis),
    )
    assert text == json.dumps(json.loads(text), separators=(",", ":"))


@pytest.mark.parametrize(
    ("scheme", "port"), [("http", 80), ("https", 443)], ids=["http is 80", "https is 443"]
)
def test_a_url_without_a_port_has_that_of_its_scheme(scheme: str, port: int) -> None:
    check_target(f"{scheme}://hooks.internal/", AllowList.parse((f"hooks.internal:{port}",)))
    with pytest.raises(UrlRejected):
        check_target(f"{scheme}://hooks.internal/", AllowList.parse(("hooks.internal:81",)))


@pytest.mark.parametrize(
    "host",
    ["a.lan", "a.intranet", "a.home.arpa", "lan", "a.b.local", "a.local.", "x.internal"],
)
def test_names_that_can_only_be_inside_are_refused(host: str) -> None:
    with pytest.raises(UrlRejected, match="its host is not allowed"):
        check_target(f"http://{host}/", NOBODY)


@pytest.mark.parametrize(
    "host", ["local.example", "a.internals", "xlan.example", "home.arpa.example"]
)
def test_names_that_only_look_like_those_are_taken(host: str) -> None:
    check_target(f"http://{host}/", NOBODY)


def test_a_secret_is_that_of_the_specification(redis: Redis) -> None:
    """`whsec_` and 32 bytes in base64, one an owner in one hash."""
    made = WebhookSecrets(redis).of("a")
    assert made.current.startswith("whsec_")
    assert len(base64.b64decode(made.current.removeprefix("whsec_"), validate=True)) == 32
    assert (made.previous, made.rotated_at) == (None, 0.0)
    assert redis.hkeys("webhook:secrets") == [b"a"]


def test_each_secret_has_its_signature() -> None:
    signed = signature(["whsec_YQ==", "whsec_Yg=="], "msg_1", 5, "{}")
    expected = [
        base64.b64encode(hmac.digest(key, b"msg_1.5.{}", "sha256")).decode() for key in (b"a", b"b")
    ]
    assert signed == f"v1,{expected[0]} v1,{expected[1]}"
