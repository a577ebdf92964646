from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def test_no_module_of_a_cpu_job_loads_torch() -> None:
    """The contracts read imports inside functions, too, so worker.main may name the modules that
    load torch. At run time it must not have loaded them."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    contracts = project["tool"]["importlinter"]["contracts"]
    [loading] = [one["protected_modules"] for one in contracts if one["type"] == "protected"]
    modules = {f"worker.{path.stem}" for path in (ROOT / "worker").glob("[!_]*.py")}
    assert {"worker.generate", "worker.model"} < set(loading) < modules
    names = ", ".join(sorted(modules - set(loading)))
    code = f"import sys, {names}; sys.exit('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
