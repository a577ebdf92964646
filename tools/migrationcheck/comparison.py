"""Compares the responses of a call with the recorded ones, aspect by aspect. Sends nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from app.core.images.file_kinds import picture_kind
from app.core.images.header_size import size_of
from tools.migrationcheck.exchanges import Call, Exchange, Response
from tools.migrationcheck.headers import compared
from tools.migrationcheck.packing import picture_in
from tools.migrationcheck.pictures import NotMeasuredError, control_of, edge_similarity
from tools.migrationcheck.shapes import Difference, differences, header_value

TOLERANCE = 0.1
"""How much smaller the similarity of the edges may be than the recorded one."""


class Verdict(StrEnum):
    SAME = "same"
    DIFFERENT = "DIFFERENT"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Finding:
    """A line of the report."""

    call: str
    step: str
    aspect: str
    verdict: Verdict
    text: str


Aspect = tuple[str, Verdict, str]


def compare(recorded: Exchange, replayed: Exchange) -> Iterator[Finding]:
    """The findings of every step of a call."""
    name = recorded.call.name
    for step, before in recorded.responses.items():
        after = replayed.responses.get(step)
        if after is None:
            yield Finding(name, step, "status", Verdict.DIFFERENT, "there is no such response")
            continue
        for aspect, verdict, text in _aspects(recorded.call, before, after):
            yield Finding(name, step, aspect, verdict, text)
    for step in replayed.responses.keys() - recorded.responses.keys():
        yield Finding(name, step, "status", Verdict.NOTE, "not in the recording")


def _aspects(call: Call, before: Response, after: Response) -> Iterator[Aspect]:
    yield _values("status", str(before.status), str(after.status))
    yield _shape("headers", list(_header_differences(before, after)))
    if before.json() is not None:
        yield _shape("body", list(differences(before.json(), after.json())))
    yield _values("format", _format(before), _format(after))
    pictures = _pictures(before), _pictures(after)
    if pictures[1] or pictures[0]:
        yield _size(*pictures)
        yield _distance(call, *pictures)
    yield _latency(before, after)


def _values(aspect: str, before: str, after: str) -> Aspect:
    if before == after:
        return aspect, Verdict.SAME, after
    return aspect, Verdict.DIFFERENT, f"{before} is now {after}"


def _shape(aspect: str, found: list[Difference]) -> Aspect:
    found.sort(key=lambda difference: difference.additional)
    bad = any(not difference.additional for difference in found)
    text = "; ".join(dict.fromkeys(difference.text for difference in found))
    return aspect, Verdict.DIFFERENT if bad else Verdict.SAME, text


def _header_differences(before: Response, after: Response) -> Iterator[Difference]:
    yield from differences(_header_values(before), _header_values(after))


def _header_values(response: Response) -> dict[str, Any]:
    """Without content-type, which is the format."""
    return {
        name: header_value(value)
        for name, value in compared(response.headers).items()
        if name != "content-type"
    }


def _format(response: Response) -> str:
    """The media type; of a picture the whole header, which clients compare, and the kind of file
    if it is another one."""
    if not response.media_type.startswith("image/"):
        return response.media_type
    header = response.headers["content-type"]
    kind = picture_kind(response.body) if response.body is not None else None
    if response.body is None or header == f"image/{kind}":
        return header
    return f"{header} around {kind or 'no picture'}"


def _pictures(response: Response) -> list[bytes]:
    """Those of a body: itself, or in the base64 of `image` or `output`."""
    if response.body is not None and picture_kind(response.body):
        return [response.body]
    content = response.json()
    if not isinstance(content, dict):
        return []
    values = content.get("image") or content.get("output") or []
    found = [picture_in(value) for value in (values if isinstance(values, list) else [values])]
    return [picture for picture in found if picture is not None]


def _size(before: list[bytes], after: list[bytes]) -> Aspect:
    sides = [
        ", ".join("x".join(map(str, size_of(picture) or "?")) for picture in pictures)
        for pictures in (before, after)
    ]
    counted = [sum(map(len, pictures)) for pictures in (before, after)]
    if not before:
        return "size", Verdict.NOTE, f"{sides[1]}, {counted[1]} bytes; not in the recording"
    verdict = Verdict.SAME if sides[0] == sides[1] else Verdict.DIFFERENT
    text = sides[1] if verdict is Verdict.SAME else f"{sides[0]} is now {sides[1] or 'nothing'}"
    return "size", verdict, f"{text}; {counted[0]} bytes are now {counted[1]}"


def _distance(call: Call, before: list[bytes], after: list[bytes]) -> Aspect:
    try:
        control = control_of(call)
        old, new = (
            min((edge_similarity(picture, control) for picture in pictures), default=None)
            for pictures in (before, after)
        )
    except NotMeasuredError as error:
        return "picture", Verdict.NOTE, str(error)
    if old is None or new is None:
        only = new if old is None else old
        return "picture", Verdict.NOTE, f"SSIM of edges and control map: {only:.3f}, of one only"
    verdict = Verdict.SAME if new >= old - TOLERANCE else Verdict.DIFFERENT
    return "picture", verdict, f"SSIM of edges and control map: {old:.3f} is now {new:.3f}"


def _latency(before: Response, after: Response) -> Aspect:
    old, new = (
        "unknown" if response.seconds is None else f"{response.seconds:.3f} s"
        for response in (before, after)
    )
    return "latency", Verdict.NOTE, f"{old}, now {new}"
