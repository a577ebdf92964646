"""The edits that are made of a module."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.mutation.mutants import Mutant, mutants_of

pytestmark = pytest.mark.tools


def mutants(folder: Path, text: str, name: str = "x.py") -> list[Mutant]:
    (folder / name).write_text(text)
    return mutants_of(folder, name)


def edits(folder: Path, text: str, name: str = "x.py") -> set[tuple[str, str]]:
    """Operator and changed line of each mutant."""
    return {(mutant.operator, mutant.after) for mutant in mutants(folder, text, name)}


@pytest.mark.parametrize(
    ("line", "operator", "afterwards"),
    [
        ("x = a < b", "ReplaceComparisonOperator_Lt_LtE", ["x = a <= b"]),
        ("x = a + b", "ReplaceBinaryOperator_Add_Sub", ["x = a - b"]),
        ("x = a in b", "Membership", ["x = a not in b"]),
        ("x = a not in b", "Membership", ["x = a in b"]),
        ("x += a", "AugmentedAssignment", ["x -= a"]),
        ("LEASE_S = timedelta(seconds=7)", "Constant",
         ["LEASE_S = timedelta(seconds=14)", "LEASE_S = timedelta(seconds=8)"]),
        ("MOST = 2**20", "Constant",
         ["MOST = 2**21", "MOST = 2**40", "MOST = 3**20", "MOST = 4**20"]),
        ("PART = 0.5", "Constant", ["PART = 0.25", "PART = 1.0"]),
        ("def f(n=3): ...", "NumberReplacer", ["def f(n= 2): ...", "def f(n= 4): ..."]),
        ("redis.delete(key)", "DeleteStatement", ["pass"]),
        ("self.last = now", "DeleteStatement", ["pass"]),
        ("@limited\ndef f(): ...", "RemoveDecorator", [""]),
    ],
)  # fmt: skip
def test_an_operator_of_python_makes_its_edits(
    tmp_path: Path, line: str, operator: str, afterwards: list[str]
) -> None:
    made = sorted(after for name, after in edits(tmp_path, line + "\n") if name == operator)
    assert made == afterwards


def test_each_exception_type_of_a_clause_is_replaced(tmp_path: Path) -> None:
    text = "try:\n    f()\nexcept (OSError, a.Error):\n    g()\n"
    made = {after for name, after in edits(tmp_path, text) if name == "ExceptionType"}
    assert made == {"except (KeyboardInterrupt, a.Error):", "except (OSError, KeyboardInterrupt):"}


@pytest.mark.parametrize(
    "text",
    [
        '"""At most 3 of 4."""\n',
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    X = 1\n",
        "__all__ = ['a'] + b\n",
        "def f(n: int | None, m: Literal[3]) -> dict[str, int] | None: ...\n",
        "def f():\n    log.warning('%d', n + 1)\n",
        "def f():\n    raise ValueError(f'at most {N // 2}')\n",
        "def f():\n    assert n is not None\n",
        "@dataclass(frozen=True, slots=True)\nclass A: ...\n",
        "A = B | None\n",
        "class A:\n    def __init__(self, a):\n        self.a = a\n",
        "def f(*, a, **b): g(*a, **b)\nx = {**y, **z}\nfrom m import *\n",
        'x = "a" + b\n',
    ],
)
def test_code_without_behaviour_is_not_mutated(tmp_path: Path, text: str) -> None:
    made = edits(tmp_path, text)
    assert {name for name, _ in made} <= {"DeleteStatement"}
    assert not any("raise" in after or "log" in after for _, after in made)


def test_of_an_annotation_the_calls_are_mutated(tmp_path: Path) -> None:
    made = edits(tmp_path, "class A:\n    n: Annotated[int, Field(ge=15)]\n")
    assert ("Constant", "n: Annotated[int, Field(ge=16)]") in made


SCRIPT = """
local function log() return 1 end
-- redis.call('DEL', 3) < 4
if not ARGV[1] then return 0 end
redis.call('RPUSH', KEYS[1], '3 < 5',
           ARGV[1])
redis.call('EXPIRE', KEYS[1], 60)
if n >= 2 then count(n) end
return redis.call('LPOP', KEYS[1])
"""


@pytest.mark.parametrize(
    ("operator", "afterwards"),
    [
        ("LuaDeleteCheck", [""]),
        ("LuaNot", ["if ARGV[1] then return 0 end"]),
        ("LuaCommand", [
            "redis.call('LPUSH', KEYS[1], '3 < 5',",
            "return redis.call('RPOP', KEYS[1])",
        ]),
        ("LuaComparison", ["if n > 2 then count(n) end"]),
        ("LuaDeleteCall", ["", "if n >= 2 then  end"]),
    ],
)  # fmt: skip
def test_an_operator_of_lua_makes_its_edits(
    tmp_path: Path, operator: str, afterwards: list[str]
) -> None:
    made = sorted({after for name, after in edits(tmp_path, SCRIPT, "x.lua") if name == operator})
    assert made == afterwards


def test_numbers_of_a_script_change(tmp_path: Path) -> None:
    made = {after for name, after in edits(tmp_path, SCRIPT, "x.lua") if name == "LuaNumber"}
    assert made == {
        "local function log() return 0 end",
        "local function log() return 2 end",
        "if not ARGV[2] then return 0 end",
        "if not ARGV[1] then return 1 end",
        "redis.call('RPUSH', KEYS[2], '3 < 5',",
        "ARGV[2])",
        "redis.call('EXPIRE', KEYS[2], 60)",
        "redis.call('EXPIRE', KEYS[1], 59)",
        "redis.call('EXPIRE', KEYS[1], 61)",
        "if n >= 1 then count(n) end",
        "if n >= 3 then count(n) end",
        "return redis.call('LPOP', KEYS[2])",
    }


def test_a_statement_of_several_lines_is_deleted_whole(tmp_path: Path) -> None:
    deleted = {mutant.before for mutant in mutants(tmp_path, SCRIPT, "x.lua") if mutant.after == ""}
    assert "redis.call('RPUSH', KEYS[1], '3 < 5', ARGV[1])" in deleted
    assert "redis.call('EXPIRE', KEYS[1], 60)" in deleted


def test_the_key_changes_with_the_module_the_edit_and_the_tests(tmp_path: Path) -> None:
    first, second = mutants(tmp_path, "A = 2\n")
    (other, _) = mutants(tmp_path, "A = 2  # two\n")
    keys = {first.key("t"), second.key("t"), other.key("t"), first.key("u")}
    assert len(keys) == 4
    assert mutants(tmp_path, "A = 2\n")[0].key("t") == first.key("t")
