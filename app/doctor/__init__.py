"""`python -m app.cli doctor`: everything that can be wrong with an installation, each with its
remedy. Looks only; what it stores to try a store it removes. The checks of the model are worker's
(worker/doctor.py), and are made where worker is installed.
"""

from __future__ import annotations

import platform
from collections.abc import Iterator, Sequence
from importlib.util import find_spec

from app import VERSION
from app.commands.worker import examine_assumed, examine_model
from app.core.findings import Finding, Level, ok
from app.core.settings import Settings
from app.doctor.loras import examine_loras
from app.doctor.machine import examine_hosts, examine_machine
from app.doctor.records import examine_redis
from app.doctor.report import show


def examine(settings: Settings, as_json: bool, hashing: bool, urls: Sequence[str]) -> int:
    """Print what is found, worst last to be said by the exit code: 1 when something fails.

    hashing: read the weights and compare their hashes. urls: pictures that must be reached.
    """
    findings = [
        ok("server", f"{VERSION}, Python {platform.python_version()}"),
        *examine_redis(settings),
        *examine_machine(settings),
        *examine_loras(settings),
        *examine_hosts(settings, urls),
        *_examine_model(settings, hashing),
    ]
    return _report(findings, as_json)


def assume(settings: Settings, as_json: bool, card: float, ram: float | None) -> int:
    """Print the memory plans that a gpu worker would choose on a machine of these sizes in GB; the
    exit code is 1 when it would find none. ram: None for the RAM of this machine.
    """
    return _report(examine_assumed(settings, card, ram), as_json)


def _report(findings: Sequence[Finding], as_json: bool) -> int:
    show(findings, as_json)
    return int(any(finding.level is Level.FAIL for finding in findings))


def _examine_model(settings: Settings, hashing: bool) -> Iterator[Finding]:
    if find_spec("torch") is None:
        yield ok("model", "not looked at: this installation has no torch, as an api need not")
        return
    yield from examine_model(settings, hashing)
