"""The targets: which measured ratio must reach which limit, and whether it does.

Ratios to A are those of the same process. A missed target is a finding, not a failure of the bench.
Needs no torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Parts = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Target:
    """limit: the smallest good ratio if `at_least`, else the largest. measure: the parts -> the
    ratio, None where something of it was not measured."""

    text: str
    limit: float
    at_least: bool
    measure: Callable[[Parts], float | None]


def judged(parts: Parts) -> list[dict[str, Any]]:
    """Every target with its measured ratio, and whether it is a hit; None where not measured."""
    rows = []
    for target in TARGETS:
        ratio = target.measure(parts)
        hit = None
        if ratio is not None:
            hit = ratio >= target.limit if target.at_least else ratio <= target.limit
        relation = ">=" if target.at_least else "<="
        rows.append(
            {
                "target": target.text,
                "limit": f"{relation} {target.limit}",
                "measured": None if ratio is None else round(ratio, 3),
                "hit": hit,
            }
        )
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """The targets as lines of text."""
    words = {True: "hit", False: "MISS", None: "not measured"}
    return "\n".join(
        f"{words[row['hit']]:<13}{row['target']:<62}{row['limit']:>8}  {row['measured']}"
        for row in rows
    )


def _speed(name: str, stop: float) -> Callable[[Parts], float | None]:
    def measure(parts: Parts) -> float | None:
        row = next(_rows(parts, "compiled", name, stop), {})
        ratio: float | None = row.get("ratio_to_a")
        return ratio

    return measure


def _above_floor(stop: float) -> Callable[[Parts], float | None]:
    def measure(parts: Parts) -> float | None:
        row = next(_rows(parts, "compiled", "D", stop), None)
        floor = parts.get("compiled", {}).get("floor", {}).get("seconds", {}).get(str(stop))
        return row["seconds"] / floor if row and floor else None

    return measure


def _first_after_restart(parts: Parts) -> float | None:
    start = parts.get("restart", {}).get("start_exact")
    steady = next(_rows(parts, "restart", "D", 0.5), None)
    return start["first request"] / steady["seconds"] if start and steady else None


def _rows(parts: Parts, part: str, name: str, stop: float) -> Iterator[dict[str, Any]]:
    for row in parts.get(part, {}).get("measurements", ()):
        if (
            row["id"] == name
            and row.get("stop") == stop
            and "seconds" in row
            and "degenerate" not in row
        ):
            yield row


TARGETS = (
    Target("exact (D) against A, cn_stop 0.5", 1.5, True, _speed("D", 0.5)),
    Target("exact (D) against A, cn_stop 1.0", 1.4, True, _speed("D", 1.0)),
    Target("fast (I) against A, cn_stop 0.5", 2.0, True, _speed("I", 0.5)),
    Target("fast (I) against A, cn_stop 1.0", 2.0, True, _speed("I", 1.0)),
    Target("turbo (J) against A, cn_stop 0.5", 2.8, True, _speed("J", 0.5)),
    Target("turbo (J) against A, cn_stop 1.0", 2.8, True, _speed("J", 1.0)),
    Target(
        "exact (D) in units of the arithmetic floor, cn_stop 0.5", 1.35, False, _above_floor(0.5)
    ),
    Target(
        "exact (D) in units of the arithmetic floor, cn_stop 1.0", 1.35, False, _above_floor(1.0)
    ),
    Target(
        "first request after a warm start in units of a steady one",
        1.2,
        False,
        _first_after_restart,
    ),
)
