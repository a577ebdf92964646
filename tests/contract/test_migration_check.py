"""The migration checker on a whole server: the shipped recordings, and a server that differs."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
from redis import Redis

from app.core.accounts.api_keys import KeyStore, Terms, mint
from tests.support.bodies import small
from tests.support.servers import Server
from tests.support.wire import V1
from tools.migrationcheck.__main__ import main

UNKNOWN = "/v2/requests/0123456789abcdef0123456789abcdef/status"


@pytest.fixture
def key(server: Server, monkeypatch: pytest.MonkeyPatch) -> str:
    """A key with a budget, as those of the hosted API have."""
    secret = mint()
    with Redis.from_url(server.redis_url) as redis:
        KeyStore(redis).add(secret, "migration", Terms(credits=1000))
    for variable in ("API_KEY", "SEGMIND_API_KEY"):
        monkeypatch.setenv(variable, secret)
    return secret


@contextmanager
def differing(url: str) -> Iterator[str]:
    """A proxy of the server that takes x-seed-value away and answers 410 instead of 404."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            length = int(self.headers.get("content-length") or 0)
            body = self.rfile.read(length)
            with httpx.Client(base_url=url, timeout=120) as client:
                answer = client.request(
                    self.command, self.path, headers=dict(self.headers), content=body
                )
            self.send_response(410 if answer.status_code == 404 else answer.status_code)
            for name, value in answer.headers.items():
                if name not in ("x-seed-value", "date", "server"):
                    self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer.content)

        do_POST = do_GET

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as proxy:
        thread = threading.Thread(target=proxy.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{proxy.server_address[1]}"
        finally:
            proxy.shutdown()
            thread.join()


@pytest.mark.usefixtures("key")
@pytest.mark.parametrize("recording", ["server", "published"])
def test_this_server_answers_as_the_shipped_recordings(
    server: Server, recording: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["compare", recording, "--url", server.url])
    report = capsys.readouterr().out
    assert [line for line in report.splitlines() if line.startswith("DIFFERENT")] == []
    assert code == 0
    assert report.endswith(" 0 differences\n")


def test_a_removed_header_and_a_changed_status_are_named(
    server: Server, key: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    calls = tmp_path / "calls.jsonl"
    picture = {"name": "picture", "path": V1, "body": small(seed=3)}
    unknown = {"name": "unknown", "method": "GET", "path": UNKNOWN}
    calls.write_text(f"{json.dumps(picture)}\n{json.dumps(unknown)}\n")
    made = tmp_path / "made"
    assert main(["record", str(made), "--url", server.url, "--requests", str(calls)]) == 0
    assert not any(key.encode() in file.read_bytes() for file in made.iterdir())
    assert main(["compare", str(made), "--url", server.url]) == 0
    capsys.readouterr()
    with differing(server.url) as url:
        assert main(["compare", str(made), "--url", url]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(maxsplit=4)[1:] for line in lines if line.startswith("DIFFERENT")] == [
        ["picture", "response", "headers", "x-seed-value is missing"],
        ["unknown", "response", "status", "404 is now 410"],
    ]
