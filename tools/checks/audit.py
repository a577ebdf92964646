"""Asks a vulnerability service about every package of requirements.lock, through pip-audit.

Usage: python -m tools.checks.audit [OPTION OF PIP-AUDIT ...]
The exit code is 1 when a vulnerability is known. If no service responds it is 0, after one line.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

LOCK = "requirements.lock"
_TOOL = Path(".venv/audit")
_UNREACHABLE = re.compile("connect|timed out|timeout|serviceerror", re.IGNORECASE)


def verdict(report: Mapping[str, Any]) -> tuple[list[str], bool]:
    """The output for a report of pip-audit, and whether it contains a vulnerability."""
    packages = report["dependencies"]
    skipped = [package["name"] for package in packages if "skip_reason" in package]
    if len(skipped) == len(packages):
        # pip-audit itself calls this "no known vulnerabilities".
        return [
            "audit: no vulnerability service knows these packages; nothing was looked up"
        ], False
    found = [
        f"{package['name']} {package['version']}: {one['id']}, "
        f"fixed in {', '.join(one['fix_versions']) or 'no version'}"
        for package in packages
        for one in package.get("vulns", ())
    ]
    summary = (
        f"audit: {len(packages) - len(skipped)} packages looked up, {len(found)} vulnerabilities"
    )
    if skipped:
        summary += f"; unknown to the service: {', '.join(skipped)}"
    return [*found, summary], bool(found)


def main(options: Sequence[str]) -> int:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "report.json"
        command = [sys.executable, "-m", "pip_audit", "--requirement", LOCK]
        command += ["--require-hashes", "--disable-pip", "--progress-spinner", "off"]
        command += ["--format", "json", "--output", str(file), *options]
        environment = {**os.environ, "PYTHONPATH": str(_TOOL)}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if file.exists() and file.stat().st_size:
            lines, vulnerable = verdict(json.loads(file.read_text()))
            print("\n".join(lines))
            return 1 if vulnerable else 0
    if _UNREACHABLE.search(done.stderr):
        print("audit: the vulnerability service cannot be reached; nothing was looked up")
        return 0
    sys.stderr.write(done.stderr)
    return done.returncode or 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
