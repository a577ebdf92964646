"""The Lua scripts that Redis runs atomically: one .lua file each, with its KEYS and ARGV.

`-- needs: NAME ...` in the first line of a file includes fragments/NAME.lua. The names of keys and
counters that a script uses are declared before it, from app.core.redis.keys and
app.core.telemetry.counters. Invariants of the scripts in transitions/, in any order of calls:

- an expired record is never written again: only submit creates a key;
- the status moves QUEUED -> PROCESSING -> COMPLETED | FAILED and never back; a terminal status is
  written once;
- between claim and the end of a stage, only the last execution that claimed it can write: a worker
  that stalled and lost its job gets 0 and changes nothing;
- progress is monotonic: a reported step is neither revoked nor reported again;
- every key of a request expires when its record does, except the one with its account for usage;
- the picture of a request counts against the quota of its owner until advance or fail;
- complete spends, or fail and forget return, the reservation of submit, once;
- a record is in the set of unfinished requests from submit to its end;
- the call that makes a change also counts it;
- the call that ends a request, or drops an expired one, also adds its usage to the sums of its key;
- the call that ends a request also adds its whole record to the outbox.
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
    """The complete text of a script. name: `FOLDER/NAME`, without suffix. Raises
    FileNotFoundError."""
    body = "\n".join(_text(part) for part in _parts(name))
    code = _COMMENT.sub("", body)
    declared = {**lua_declarations(), **lua_constants()}
    used = [line for word, line in declared.items() if re.search(rf"\b{word}\b", code)]
    return "\n".join([*used, body])


def _parts(name: str) -> list[str]:
    """The fragments that a script needs, each once, then the script."""
    parts: list[str] = []
    if needs := _NEEDS.match(_text(name)):
        for fragment in needs[1].split():
            parts += [part for part in _parts(f"fragments/{fragment}") if part not in parts]
    return [*parts, name]


def _text(name: str) -> str:
    return files(__name__).joinpath(f"{name}.lua").read_text("utf-8")
