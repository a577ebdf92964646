"""Every published version of the official client runs the page's own request. The last one is a
dependency; `scripts/setup` puts the others beside it (tests/clients).
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.support.bodies import page
from tests.support.pictures import astronaut
from tests.support.servers import ROOT, Server

OLDER = Path(sys.prefix, "clients")


@pytest.mark.parametrize("version", ["1.1.0", "1.2.0", "1.3.0"])
def test_a_client_runs_the_pages_request(server: Server, http: httpx.Client, version: str) -> None:
    """`run_sync` and `run`: the same file, and the page's seed."""
    folder = OLDER / version
    assert folder.is_dir() or version == "1.3.0", "scripts/setup puts it there"
    done = subprocess.run(
        [sys.executable, "tests/support/page_client.py", f"{server.url}/v1", server.key],
        input=json.dumps(page("canny", astronaut((128, 128)))),
        env={"PYTHONPATH": str(folder)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    made = json.loads(done.stdout)
    assert made["version"] == version
    assert made["content_type"] == "image/jpeg"
    result = made["result"]
    assert (result["status"], result["seed"]) == ("COMPLETED", "652889")
    file = http.get(result["output"]).content
    assert hashlib.sha256(file).hexdigest() == made["sha256"]
