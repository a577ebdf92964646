"""The short run of scripts/fuzz: the same inputs on every run and every machine."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from tests.support.fuzzing import TARGETS

SHORT = settings(
    derandomize=True,
    deadline=None,
    max_examples=300,
    database=None,
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.parametrize("name", TARGETS)
def test_a_parser_answers_or_refuses(name: str) -> None:
    target = TARGETS[name]

    @SHORT
    @given(target.inputs)
    def run(untrusted: Any) -> None:
        target.run(untrusted)

    run()
