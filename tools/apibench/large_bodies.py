"""Measures how long large bodies block the api: the longest wait for /health/live meanwhile.

The bodies arrive one after another, in each form in which a picture can be sent.

Starts no server process.
"""

from __future__ import annotations

import base64
import http.client
import json
import secrets
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tools.apibench.bench import Bench
from tools.apibench.rig import ROOT

PICTURE_BYTES = 33_000_000  # about MAX_IMAGE_BYTES
BODY_BYTES = 60_000_000
_FORM = b'--x\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n'
_PNG = b"\x89PNG\r\n\x1a\n"


def large_bodies(bench: Bench, rounds: int) -> dict[str, Any]:
    """body_waits_ms: form of the body -> median of the longest wait during each body.
    body_stall_ms: the largest of these."""
    waits: dict[str, list[float]] = {"nothing": []}
    bodies = _bodies()
    for _ in range(rounds):
        with _polled(bench, waits["nothing"]):
            time.sleep(1.0)
        for name, (path, content_type, body) in bodies.items():
            with _polled(bench, waits.setdefault(name, [])):
                _send(bench, path, content_type, body)
            _forget(bench)
    medians = {name: statistics.median(of) for name, of in waits.items()}
    return {"body_waits_ms": medians, "body_stall_ms": max(medians.values())}


def _bodies() -> dict[str, tuple[str, str, bytes]]:
    """(path, content type, body) of each form; about 60 MB, or 44 where nothing can be added."""
    picture = _PNG + secrets.token_bytes(PICTURE_BYTES)
    text = base64.b64encode(picture).decode()
    more = "x" * (BODY_BYTES - len(text))
    submission = json.dumps({"image": text, "prompt": "a lake", "more": more})
    uploads = json.dumps({"data_urls": [f"data:image/png;base64,{text}"], "more": more})
    form = _FORM % (b"image", text.encode()) + _FORM % (b"prompt", b"a lake") + b"--x--\r\n"
    path, json_type = "/v2/flux-controlnet", "application/json"
    return {
        "base64": (path, json_type, submission.encode()),
        "slashes escaped": (path, json_type, submission.replace("/", "\\/").encode()),
        "form": (path, "multipart/form-data; boundary=x", form),
        "upload": ("/upload-asset", json_type, uploads.encode()),
    }


def _send(bench: Bench, path: str, content_type: str, body: bytes) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", bench.api.port)
    headers = {"x-api-key": bench.secret, "content-type": content_type}
    connection.request("POST", path, body, headers)
    answer = connection.getresponse()
    assert answer.status == 200, answer.read()
    connection.close()


@contextmanager
def _polled(bench: Bench, waits: list[float]) -> Iterator[None]:
    """Adds the longest wait of meanwhile to `waits`."""
    command = [sys.executable, "-m", "tools.apibench.waits", str(bench.api.port)]
    with subprocess.Popen(
        command, cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as poller:
        assert poller.stdin is not None
        assert poller.stdout is not None
        poller.stdout.readline()  # the probe has started
        yield
        poller.stdin.close()
        waits.append(float(poller.stdout.readline()))


def _forget(bench: Bench) -> None:
    """Delete the stored bodies, so that Redis does not grow."""
    for pattern in ("rq:job:*", "rq:queue:*", "turns:*", "blob:*", "uploads:*"):
        for name in bench.redis.scan_iter(pattern, count=5000):
            bench.redis.unlink(name)
