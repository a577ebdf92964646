"""The reading of a report of pip-audit, and of a missing report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tools.checks.audit import main, verdict

pytestmark = pytest.mark.tools

CLEAN = {"name": "rq", "version": "3.0.0", "vulns": []}
UNKNOWN = {"name": "torch", "skip_reason": "not found"}
VULNERABLE = {
    "name": "jinja2",
    "version": "2.10",
    "vulns": [
        {"id": "CVE-1", "fix_versions": ["2.10.1", "2.11"]},
        {"id": "CVE-2", "fix_versions": []},
    ],
}


def stand_in(folder: Path, script: str) -> None:
    """A pip-audit of this behaviour, where scripts/audit puts it; `file` is its report."""
    tool = folder / ".venv" / "audit" / "pip_audit.py"
    tool.parent.mkdir(parents=True)
    tool.write_text(f"import sys\nfile = sys.argv[sys.argv.index('--output') + 1]\n{script}\n")


@pytest.mark.parametrize(
    ("packages", "lines", "vulnerable"),
    [
        ([CLEAN, CLEAN], ["audit: 2 packages looked up, 0 vulnerabilities"], False),
        (
            [CLEAN, UNKNOWN],
            ["audit: 1 packages looked up, 0 vulnerabilities; unknown to the service: torch"],
            False,
        ),
        (
            [UNKNOWN, UNKNOWN],
            ["audit: no vulnerability service knows these packages; nothing was looked up"],
            False,
        ),
        (
            [CLEAN, VULNERABLE],
            [
                "jinja2 2.10: CVE-1, fixed in 2.10.1, 2.11",
                "jinja2 2.10: CVE-2, fixed in no version",
                "audit: 2 packages looked up, 2 vulnerabilities",
            ],
            True,
        ),
    ],
)
def test_a_report_becomes_lines_and_a_verdict(
    packages: list[dict[str, Any]], lines: list[str], vulnerable: bool
) -> None:
    assert verdict({"dependencies": packages}) == (lines, vulnerable)


@pytest.mark.parametrize(("package", "code"), [(CLEAN, 0), (UNKNOWN, 0), (VULNERABLE, 1)])
def test_only_a_known_vulnerability_fails_the_audit(
    package: dict[str, Any], code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = json.dumps({"dependencies": [package]})
    stand_in(tmp_path, f"open(file, 'w').write({report!r}); sys.exit(1)")
    monkeypatch.chdir(tmp_path)
    assert main([]) == code


@pytest.mark.parametrize(
    "words",
    [
        "requests.exceptions.ConnectionError: Max retries exceeded",
        "ERROR:pip_audit._cli:Could not connect to the vulnerability feed",
        "requests.exceptions.ReadTimeout: Read timed out.",
    ],
)
def test_a_service_that_cannot_be_reached_is_one_line_and_no_failure(
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    stand_in(tmp_path, f"sys.exit({words!r})")
    monkeypatch.chdir(tmp_path)
    assert main([]) == 0
    line = "audit: the vulnerability service cannot be reached; nothing was looked up\n"
    assert capsys.readouterr() == (line, "")


def test_any_other_failure_of_the_audit_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stand_in(tmp_path, "sys.exit('invalid requirements')")
    monkeypatch.chdir(tmp_path)
    assert main([]) == 1
    assert capsys.readouterr().err == "invalid requirements\n"


def test_options_are_passed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report = json.dumps({"dependencies": [CLEAN]})
    wanted = ["--ignore-vuln", "CVE-1"]
    stand_in(tmp_path, f"if sys.argv[-2:] == {wanted!r}:\n    open(file, 'w').write({report!r})")
    monkeypatch.chdir(tmp_path)
    assert main(wanted) == 0
    assert main([]) == 1
