"""The tests that the mutants of a module run against."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.mutation.imports import Import, libraries
from tools.mutation.mapping import MORE_TESTS, mapped_tests

pytestmark = pytest.mark.tools

ROOT = Path(__file__).resolve().parents[4]


def files(root: Path, **texts: str) -> None:
    """Write files; two underscores in a name are a slash."""
    for name, text in texts.items():
        path = root / f"{name.replace('__', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_a_module_has_the_test_file_of_its_own_path() -> None:
    assert mapped_tests(ROOT, "app/core/egress/fetch.py") == (
        "tests/unit/app/core/egress/test_fetch.py",
    )


def test_a_module_without_one_has_the_unit_tests_that_import_it(tmp_path: Path) -> None:
    files(
        tmp_path,
        app__x="",
        tests__unit__app__test_y="from app.x import z",
        tests__unit__app__test_z="def test_z():\n    from app import x",
        tests__unit__app__test_other="import app.xx",
    )
    assert mapped_tests(tmp_path, "app/x.py") == (
        "tests/unit/app/test_y.py",
        "tests/unit/app/test_z.py",
    )


def test_a_module_that_no_test_imports_has_the_mapped_tests_its_users(tmp_path: Path) -> None:
    files(tmp_path, app__x="", app__user="from app.x import z", tests__unit__app__test_user="")
    assert mapped_tests(tmp_path, "app/x.py") == ("tests/unit/app/test_user.py",)
    assert mapped_tests(tmp_path, "app/test_nobody.py") == ()


@pytest.mark.parametrize("place", MORE_TESTS)
def test_every_path_of_the_table_exists(place: str) -> None:
    """A module that moves takes its entry along."""
    assert (ROOT / place).exists()
    assert [test for test in MORE_TESTS[place] if not (ROOT / test).is_file()] == []


def test_libraries_are_those_that_a_test_needs_through_our_modules_too(tmp_path: Path) -> None:
    files(
        tmp_path,
        app__x="from redis import Redis\nfrom app import y\ndef f():\n    import torch",
        app__y="import json",
        tests__conftest="import httpx",
        tests__unit__test_x="from app.x import f\ndef test_f():\n    import rq",
    )
    assert libraries(tmp_path, ["tests/unit/test_x.py"]) == {
        Import("redis", "Redis"),
        Import("json", None),
        Import("httpx", None),
        Import("rq", None),
    }
