"""The files that help contributors: they fit their schemas, and name what there is."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
GITHUB = ROOT / ".github"


@pytest.mark.parametrize(
    ("schema", "file"),
    [
        ("github-workflows", "workflows/ci.yml"),
        ("github-issue-forms", "ISSUE_TEMPLATE/bug.yml"),
        ("github-issue-forms", "ISSUE_TEMPLATE/feature.yml"),
        ("github-issue-config", "ISSUE_TEMPLATE/config.yml"),
    ],
)
def test_a_github_file_fits_its_schema(schema: str, file: str) -> None:
    command = [*(sys.executable, "-m", "check_jsonschema"), "--builtin-schema", f"vendor.{schema}"]
    done = subprocess.run(
        [*command, str(GITHUB / file)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_workflow_runs_continuous_integration_with_our_oldest_python() -> None:
    workflow = yaml.safe_load((GITHUB / "workflows" / "ci.yml").read_text())
    steps = workflow["jobs"]["ci"]["steps"]
    assert ".ci/run" in [step.get("run") for step in steps]
    [python] = [step["with"]["python-version"] for step in steps if "setup-python" in str(step)]
    assert f'requires-python = ">={python},' in (ROOT / "pyproject.toml").read_text()


def test_pre_commit_calls_every_part_of_scripts_check_once() -> None:
    configuration = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    hooks = [hook for repository in configuration["repos"] for hook in repository["hooks"]]
    entries = [hook["entry"].split() for hook in hooks]
    assert {script for script, *_ in entries} == {"scripts/check"}
    parts = re.findall(r"^ {8}(\w+)\) ", (ROOT / "scripts" / "check").read_text(), re.MULTILINE)
    assert sorted(part for _, *called in entries for part in called) == sorted(parts)


def test_contributing_has_a_row_for_every_script() -> None:
    rows = re.findall(r"^\| `(scripts/\w+)", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE)
    scripts = {f"scripts/{file.stem}" for file in (ROOT / "scripts").iterdir() if file.is_file()}
    assert set(rows) == scripts
