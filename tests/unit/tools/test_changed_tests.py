"""The tests that `scripts/test changed` runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.changed_tests import changed_tests

pytestmark = pytest.mark.tools

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(
    ("changed", "tests"),
    [
        ("app/core/egress/fetch.py", "tests/unit/app/core/egress/test_fetch.py"),
        ("tests/contract/test_events.py", "tests/contract/test_events.py"),
        ("tests/contract/conftest.py", "tests/contract"),
        ("tests/support/sse.py", "tests/contract/test_events.py"),
        ("app/playground/js/main.js", "tests/browser"),
        ("tools/changed_tests.py", "tests/unit/tools/test_changed_tests.py"),
    ],
)
def test_a_changed_file_leads_to_its_tests(changed: str, tests: str) -> None:
    assert tests in changed_tests(ROOT, [changed])


@pytest.mark.parametrize("changed", ["README.md", "app/core/is_gone.py"])
def test_a_text_and_a_file_that_is_gone_have_no_tests(changed: str) -> None:
    assert changed_tests(ROOT, [changed]) == []


def test_a_test_is_named_once() -> None:
    both = ["app/core/egress/fetch.py", "tests/unit/app/core/egress/test_fetch.py"]
    assert changed_tests(ROOT, both).count(both[1]) == 1
