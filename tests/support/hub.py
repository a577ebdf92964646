"""A stub of the Hugging Face hub with what a download needs.

It serves the tree of a revision, and files with their hash, by ranges, behind a licence if wanted.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

REVISION = "a" * 40


@dataclass
class Hub:
    """files of the one repository: name -> content. gated: refuse files without this token.
    cut_after: end the next answer to a GET of a longer file after so many bytes. refusal: status
    and X-Error-Code of every answer. ranges: what was asked for."""

    origin: str
    files: dict[str, bytes]
    gated: str | None = None
    cut_after: int | None = None
    lie: bool = False
    refusal: tuple[int, str] | None = None
    ranges: list[str | None] = field(default_factory=list)

    def tree(self) -> list[dict[str, Any]]:
        return [
            {
                "type": "file",
                "path": name,
                "size": len(data),
                "oid": hashlib.sha1(data, usedforsecurity=False).hexdigest(),
                "lfs": {"oid": sha256(data), "size": len(data), "pointerSize": 100},
            }
            for name, data in self.files.items()
        ]


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@contextmanager
def running_hub(files: dict[str, bytes]) -> Iterator[Hub]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Quiet."""

        def do_GET(self) -> None:
            _answer(hub, self, body=True)

        def do_HEAD(self) -> None:
            _answer(hub, self, body=False)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub = Hub(f"http://127.0.0.1:{server.server_port}", files)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _answer(hub: Hub, handler: BaseHTTPRequestHandler, *, body: bool) -> None:
    path = unquote(urlsplit(handler.path).path)
    if hub.refusal is not None:
        status, code = hub.refusal
        _send(handler, status, b"", {"X-Error-Code": code} if code else {})
        return
    if path.startswith("/api/models/"):
        answer = hub.tree() if "/tree/" in path else {"id": "x", "sha": REVISION, "siblings": []}
        _send(handler, 200, json.dumps(answer).encode(), {"Content-Type": "application/json"})
        return
    if f"/resolve/{REVISION}/" not in path:
        _send(handler, 404, b"", {})
        return
    if hub.gated and handler.headers.get("Authorization") != f"Bearer {hub.gated}":
        _send(handler, 403, b"", {"X-Error-Code": "GatedRepo"})
        return
    data = hub.files[path.rpartition(f"/{REVISION}/")[2]]
    headers = {"ETag": f'"{sha256(data)}"', "X-Repo-Commit": REVISION, "Accept-Ranges": "bytes"}
    if not body:
        _send(handler, 200, b"", {**headers, "Content-Length": str(len(data))})
        return
    asked = handler.headers.get("Range")
    hub.ranges.append(asked)
    start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
    if asked:
        headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
    sent = bytes(len(data)) if hub.lie else data
    headers["Content-Length"] = str(len(data) - start)
    cut = None
    if hub.cut_after is not None and hub.cut_after < len(data):  # files are asked for in any order
        cut, hub.cut_after = hub.cut_after, None
    _send(handler, 206 if asked else 200, sent[start:][:cut], headers)


def _send(
    handler: BaseHTTPRequestHandler, status: int, body: bytes, headers: dict[str, str]
) -> None:
    handler.send_response(status)
    for name, value in {"Content-Length": str(len(body)), **headers}.items():
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(body)
