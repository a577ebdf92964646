"""Runs the playground's JavaScript modules outside a browser."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support.servers import ROOT

MODULES = ROOT / "app" / "playground" / "js"


def node() -> str:
    """The node that the package playwright carries, else one of the system. Skips without one."""
    package = importlib.util.find_spec("playwright")
    carried = package and package.origin and Path(package.origin).parent / "driver" / "node"
    found = str(carried) if carried and carried.is_file() else shutil.which("node")
    if found is None:
        pytest.skip("needs node, which the package playwright carries")
    return found


def call(module: str, function: str, calls: list[list[Any]]) -> list[Any]:
    """The results of an exported function, one for each list of arguments; both as JSON."""
    url = (MODULES / module).as_uri()
    program = (
        f"const {{ {function} }} = await import({json.dumps(url)});"
        'const text = (await import("node:fs")).readFileSync(0, "utf8");'
        "const calls = JSON.parse(text);"
        f"const results = await Promise.all(calls.map((call) => {function}(...call)));"
        "console.log(JSON.stringify(results));"
    )
    done = subprocess.run(
        [node(), "--no-warnings", "--input-type=module", "-e", program],
        input=json.dumps(calls),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    results: list[Any] = json.loads(done.stdout)
    return results
