"""Prints findings: a line each for people, JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict

from app.core.findings import Finding


def show(findings: Sequence[Finding], as_json: bool) -> None:
    if as_json:
        print(json.dumps([asdict(finding) for finding in findings], indent=2))
        return
    for finding in findings:
        remedy = f" -> {finding.remedy}" if finding.remedy else ""
        print(f"{finding.level:4}  {finding.what}: {finding.said}{remedy}")
