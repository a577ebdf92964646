"""The verdicts of a whole run as figures."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

from tests.support.differential.comparison import MAX_ERROR, Verdict


def report(verdicts: Sequence[Verdict]) -> str:
    """Files by format, refusals by kind and reason, and every file that is silently wrong."""
    accepted = [verdict for verdict in verdicts if verdict.refusal is None]
    lines = [f"{'format':8}{'made':>7}{'accepted':>10}{'refused':>9}{'wrong':>7}{'worst':>8}"]
    formats = dict.fromkeys(_format(verdict) for verdict in verdicts)
    lines += [_row(name, [one for one in verdicts if _format(one) == name]) for name in formats]
    lines.append(_row("all", verdicts))
    lines.append(f"mean error above {MAX_ERROR} of 255: {sum(one.wrong for one in accepted)}")
    lines += [f"  {one.error:6.1f}  {one.case.name}" for one in accepted if one.wrong]
    lines.append("refused:")
    lines += _counted(
        f"{one.case.kind}: {_without_numbers(one.refusal)}" for one in verdicts if one.refusal
    )
    lines.append("libvips shows other pixels than were encoded, and we do not:")
    right = [one for one in accepted if not one.wrong]
    lines += _counted(one.case.kind for one in right if (one.libvips_error or 0) > MAX_ERROR)
    return "\n".join(lines)


def _format(verdict: Verdict) -> str:
    return re.split(r"\W", verdict.case.kind)[0]


def _row(name: str, verdicts: Sequence[Verdict]) -> str:
    refused = sum(one.refusal is not None for one in verdicts)
    wrong = sum(one.wrong for one in verdicts)
    worst = max((one.error for one in verdicts), default=0.0)
    counts = f"{len(verdicts):7}{len(verdicts) - refused:10}{refused:9}{wrong:7}"
    return f"{name:8}{counts}{worst:8.2f}"


def _counted(names: Iterable[str]) -> list[str]:
    return [f"  {times:6}  {name}" for name, times in Counter(names).most_common()]


def _without_numbers(text: str) -> str:
    return re.sub(r"\d+", "N", text)
