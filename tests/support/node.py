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


def evaluate(module: str, expression: str, data: Any) -> Any:
    """The value of a JavaScript expression of `module` (what the file exports) and `data`; data and
    value pass as JSON."""
    program = (
        f"const module = await import({json.dumps((MODULES / module).as_uri())});"
        'const data = JSON.parse((await import("node:fs")).readFileSync(0, "utf8"));'
        f"console.log(JSON.stringify(await ({expression})));"
    )
    done = subprocess.run(
        [node(), "--no-warnings", "--input-type=module", "-e", program],
        input=json.dumps(data),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
