"""Warnings about a valid body: fields that no part of the server knows, and a noisy pair of sampler
and schedule."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, NamedTuple

from app.api.wire.controls import ControlBody
from app.api.wire.loras import LoraBody
from app.api.wire.requests import FluxControlNetBody, PreprocessBody
from app.core.requests.warnings import RequestWarning, WarningCode
from models.noisy_pairs import is_noisy, quiet_schedules
from models.spec import CONTROLS_MAX, LORAS_MAX

MAX_WARNINGS = 10
MAX_NAME = 60
"""Characters of a name that a warning repeats."""

_SIMILARITY = 0.65
"""difflib's own 0.6 takes style for steps."""
_KNOWN = (*FluxControlNetBody.model_fields, *PreprocessBody.model_fields)
_LISTS = {
    "controls": (CONTROLS_MAX, tuple(ControlBody.model_fields)),
    "loras": (LORAS_MAX, tuple(LoraBody.model_fields)),
}
"""Parameters that are lists of objects: name -> (the longest list, the names in an object)."""
# `segmind.run(..., timeout=, interval=)` puts its own arguments into the body, too.
_EXPECTED = frozenset((*_KNOWN, "timeout", "interval"))


def pair_warnings(body: FluxControlNetBody) -> tuple[RequestWarning, ...]:
    """A warning if the sampler is known to leave noise in the picture with this schedule."""
    if not is_noisy(body.sampler, body.scheduler):
        return ()
    message = (
        f"{body.sampler} leaves visible noise in the picture with {body.scheduler}; "
        f"without it are {', '.join(quiet_schedules(body.sampler))}"
    )
    return (RequestWarning(WarningCode.NOISY_PAIR, "scheduler", message),)


def unknown_parameters(fields: Mapping[str, Any]) -> tuple[RequestWarning, ...]:
    """A warning for each of the first MAX_WARNINGS unknown fields, those of the elements of
    `controls` and `loras` included; the last one counts the rest. null counts as left out, as it
    does for known fields."""
    unknown = [
        _Unknown("", name, _KNOWN)
        for name, value in fields.items()
        if name not in _EXPECTED and value is not None
    ]
    for parameter, (longest, known) in _LISTS.items():
        elements = fields.get(parameter)
        for index, element in enumerate(elements[:longest] if isinstance(elements, list) else ()):
            unknown += [
                _Unknown(f"{parameter}[{index}].", name, known)
                for name, value in (element.items() if isinstance(element, dict) else ())
                if name not in known and value is not None
            ]
    warnings = [_warning(of) for of in unknown[:MAX_WARNINGS]]
    rest = len(unknown) - len(warnings)
    if rest:
        last = warnings.pop()
        message = f"{last.message} ({rest} more unknown parameters are not listed)"
        warnings.append(RequestWarning(last.code, last.parameter, message))
    return tuple(warnings)


class _Unknown(NamedTuple):
    """place: before the name, "" or `controls[0].`. known: the names that exist in this place."""

    place: str
    name: str
    known: tuple[str, ...]


def _warning(unknown: _Unknown) -> RequestWarning:
    message = "no parameter has this name, so it was ignored"
    nearest = _nearest(unknown.name, unknown.known)
    if nearest is not None:
        message += f"; the nearest name is {nearest}"
    parameter = unknown.place + _printable(unknown.name)
    return RequestWarning(WarningCode.UNKNOWN_PARAMETER, parameter, message)


def _nearest(name: str, known_names: tuple[str, ...]) -> str | None:
    """The most similar known name, or one that ends with this word; None if there is none. Case and
    hyphens make no difference."""
    if len(name) > MAX_NAME:
        return None
    plain = name.lower().replace("-", "_")
    similar = difflib.get_close_matches(plain, known_names, n=1, cutoff=_SIMILARITY)
    similar += [known for known in known_names if known.endswith(f"_{plain}")]
    return similar[0] if similar else None


def _printable(name: str) -> str:
    """The name, cut short, without control characters and lone surrogates, which no response can
    hold."""
    shown = name if len(name) <= MAX_NAME else name[: MAX_NAME - 3] + "..."
    return "".join(character if character.isprintable() else "\ufffd" for character in shown)
