"""The stored results of a mutation run, and their report."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.mutation.accepted import Place, place, read_accepted, stale
from tools.mutation.lua import Edit
from tools.mutation.mutants import Mutant
from tools.mutation.report import survivor, table, verdict
from tools.mutation.results import Results, digest

pytestmark = pytest.mark.tools

MUTANT = Mutant("app/x.py", "A = 1\nB = 2\n", Edit("Constant", 10, 11, "3"))


def test_a_result_is_there_for_the_next_run(tmp_path: Path) -> None:
    Results(tmp_path).add("k", MUTANT, "killed", "test_x.py::test_b", 0.5)
    result = Results(tmp_path).get("k")
    assert result is not None
    assert (result.verdict, result.line, result.before, result.after) == (
        *("killed", 2),
        *("B = 2", "B = 3"),
    )
    assert Results(tmp_path).get("another") is None


def test_the_digest_of_tests_changes_with_them_and_with_their_fixtures(tmp_path: Path) -> None:
    test, fixtures = tmp_path / "tests" / "unit" / "test_x.py", tmp_path / "tests" / "conftest.py"
    test.parent.mkdir(parents=True)
    test.write_text("a")
    fixtures.write_text("b")
    digests = [digest(tmp_path, ["tests/unit/test_x.py"])]
    for file in (test, fixtures):
        file.write_text("c")
        digests.append(digest(tmp_path, ["tests/unit/test_x.py"]))
    assert len(set(digests)) == 3
    assert digest(tmp_path, ["tests/unit/test_x.py"]) == digests[-1]


def accepted_file(folder: Path, reason: str) -> Path:
    file = folder / "accepted.toml"
    entry = 'path = "app/x.py"\noperator = "Constant"\nbefore = "B = 2"\nafter = "B = 3"'
    file.write_text(f'[[mutant]]\n{entry}\nreason = "{reason}"\n')
    return file


def test_an_accepted_survivor_is_found_by_its_lines(tmp_path: Path) -> None:
    accepted = read_accepted(accepted_file(tmp_path, "no caller reads B"))
    assert accepted == {place(MUTANT): "no caller reads B"}
    assert stale(accepted, [MUTANT]) == []


def test_an_accepted_survivor_has_a_reason(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no reason"):
        read_accepted(accepted_file(tmp_path, " "))


def test_an_entry_that_matches_no_mutant_any_more_is_reported(tmp_path: Path) -> None:
    accepted = read_accepted(accepted_file(tmp_path, "no caller reads B"))
    changed = Mutant("app/x.py", "B = 4\n", Edit("Constant", 4, 5, "5"))
    assert stale(accepted, [changed]) == [Place("app/x.py", "Constant", "B = 2", "B = 3")]
    elsewhere = Mutant("app/y.py", "B = 4\n", Edit("Constant", 4, 5, "5"))
    assert stale(accepted, [elsewhere]) == []


def test_only_a_survivor_can_be_equivalent(tmp_path: Path) -> None:
    results = Results(tmp_path)
    killed = results.add("k", MUTANT, "killed", "t", 1)
    survived = results.add("s", MUTANT, "survived", "", 1)
    assert verdict(killed, is_accepted=True) == "killed"
    assert verdict(survived, is_accepted=True) == "equivalent"
    assert verdict(survived, is_accepted=False) == "survived"
    assert "-B = 2\n+B = 3\n" in survivor(MUTANT, survived)


def test_the_score_is_what_was_noticed_of_what_could_have_been() -> None:
    verdicts = ["killed", "killed", "timed out", "survived", "equivalent", "invalid"]
    rows = list(table([("a.py", kind) for kind in verdicts] + [("b.py", "equivalent")]))
    assert rows[2:] == [
        "| `a.py` | 5 | 2 | 1 | 1 | 1 | 75 % |",
        "| `b.py` | 1 | 0 | 0 | 0 | 1 | - |",
        "| all | 6 | 2 | 1 | 1 | 2 | 75 % |",
    ]
