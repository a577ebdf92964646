"""The Lua scripts that Redis runs, each atomic: one .lua file a script, with its KEYS and ARGV.

`-- needs: NAME ...` in the first line of a file names the files of fragments/ that it is joined
with. Keys and counters that a script names are declared before it, from app.core.redis.keys and
app.core.telemetry.counters. Invariants of the scripts in transitions/, in whatever order they run:

- a record that expired is never written again: no script but submit creates a key;
- a status moves QUEUED -> PROCESSING -> COMPLETED | FAILED and never back, and a terminal status is
  written once;
- between claim and the end of a stage only the execution that claimed last can write: a worker that
  stalled, lost its job and resumes gets 0 and changes nothing;
- progress only grows: a step that was reported is neither taken back nor reported again;
- every key of a request expires when its record does;
- the picture of a request counts for its owner until advance or fail;
- what submit reserved of a budget is spent by complete or given back by fail and forget, once;
- a record is among the unfinished ones from submit to its end;
- every change is counted in the call that makes it;
- a request that ends enters the outbox in the same call, as a whole record.
"""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files

from app.core.redis.keys import lua_declarations
from app.core.telemetry.counters import lua_constants

_NEEDS = re.compile(r"-- needs: (.+)\n")
_COMMENT = re.compile(r"--.*")


@cache
def script(name: str) -> str:
    """The whole text of a script, `FOLDER/NAME` without its suffix. FileNotFoundError if there is
    none."""
    body = "\n".join(_text(part) for part in _parts(name))
    code = _COMMENT.sub("", body)
    declared = {**lua_declarations(), **lua_constants()}
    used = [line for word, line in declared.items() if re.search(rf"\b{word}\b", code)]
    return "\n".join([*used, body])


def _parts(name: str) -> list[str]:
    """A script after the fragments that it needs, each once."""
    parts: list[str] = []
    if needs := _NEEDS.match(_text(name)):
        for fragment in needs[1].split():
            parts += [part for part in _parts(f"fragments/{fragment}") if part not in parts]
    return [*parts, name]


def _text(name: str) -> str:
    return files(__name__).joinpath(f"{name}.lua").read_text("utf-8")
