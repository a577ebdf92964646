"""A recording: a folder with `recording.jsonl` and the pictures that its lines name.

The first line says where and when it was made. Each further line is a step of a call; the first
step of a call has its request. A picture in base64, or as a body, is `{"file": NAME}`. The key and
headers of the transport are never written, and links of responses lose their query, which is a
signature.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any

from app.core.images.file_kinds import picture_kind
from tools.migrationcheck.exchanges import Auth, Call, CannotRunError, Exchange, Response
from tools.migrationcheck.headers import compared
from tools.migrationcheck.packing import keep, pack, read_picture, unpack, without_signatures

FORMAT = 1
SHIPPED = Path(__file__).with_name("recordings")
_LINES = "recording.jsonl"
_NO_SECRET = "***"  # noqa: S105 - what stands in place of the key


def folder_of(name: str) -> Path:
    """A folder of the user, or else a shipped recording of this name."""
    folders = Path(name), SHIPPED / name
    found = next((folder for folder in folders if (folder / _LINES).is_file()), None)
    if found is None:
        shipped = ", ".join(sorted(folder.name for folder in SHIPPED.iterdir()))
        raise CannotRunError(f"{name} has no {_LINES}, and is none of the shipped: {shipped}")
    return found


def write(
    folder: Path, source: str, recorded: str, exchanges: Iterable[Exchange], secret: str
) -> None:
    """Each call is written as it comes. Raises CannotRunError if there is a recording already.

    recorded: the date. secret: the key, which is replaced wherever a response repeats it.
    """
    if (folder / _LINES).exists():
        raise CannotRunError(f"{folder} already holds a recording")
    waiting = iter(exchanges)
    first = list(islice(waiting, 1))  # a check that cannot run leaves no folder behind
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / _LINES).open("w") as lines:
        head = {"format": FORMAT, "source": source, "recorded": recorded}
        lines.write(json.dumps(head) + "\n")
        for exchange in chain(first, waiting):
            for line in _lines(folder, exchange):
                text = json.dumps(line, ensure_ascii=False)
                lines.write((text.replace(secret, _NO_SECRET) if secret else text) + "\n")
            lines.flush()


def _lines(folder: Path, exchange: Exchange) -> Iterator[dict[str, Any]]:
    request: dict[str, Any] = {"request": _packed_call(folder, exchange.call)}
    for step, response in exchange.responses.items():
        body = _packed_body(folder, response)
        recorded = {
            "status": response.status,
            "headers": compared(response.headers),
            "seconds": None if response.seconds is None else round(response.seconds, 3),
            **body,
        }
        yield {"call": exchange.call.name, "step": step, **request, "response": recorded}
        request = {}


def _packed_call(folder: Path, call: Call) -> dict[str, Any]:
    packed = {"method": call.method, "path": call.path, "body": pack(folder, call.body)}
    return packed | {"content_type": call.content_type, "auth": call.auth.value}


def _packed_body(folder: Path, response: Response) -> dict[str, Any]:
    if response.body is None:
        return {}
    if picture_kind(response.body):
        return {"file": keep(folder, response.body)}
    content = response.json()
    if content is not None:
        return {"json": without_signatures(pack(folder, content))}
    return {"text": response.body.decode(errors="replace")}


def read(folder: Path) -> list[Exchange]:
    """The calls of a recording, in their order. Raises CannotRunError if it cannot be read."""
    try:
        with (folder / _LINES).open() as lines:
            head, *steps = [json.loads(line) for line in lines if line.strip()]
        if head["format"] != FORMAT:
            raise CannotRunError(f"{folder} has the format {head['format']}, not {FORMAT}")
        calls: dict[str, Call] = {}
        responses: dict[str, dict[str, Response]] = {}
        for step in steps:
            name = step["call"]
            if name not in calls:
                calls[name] = read_call(folder, {"name": name, **step["request"]})
            responses.setdefault(name, {})[step["step"]] = _response(folder, step["response"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CannotRunError(f"{folder} is no recording: {error!r}") from None
    return [Exchange(call, responses[name]) for name, call in calls.items()]


def read_calls(file: Path) -> list[Call]:
    """The calls of a user's JSON Lines file; `{"file": NAME}` is a picture beside it."""
    try:
        lines = [line for line in file.read_text().splitlines() if line.strip()]
        return [read_call(file.parent, json.loads(line)) for line in lines]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CannotRunError(f"{file} holds no calls: {error!r}") from None


def read_call(folder: Path, packed: dict[str, Any]) -> Call:
    return Call(
        packed["name"],
        packed.get("method", "POST"),
        packed["path"],
        unpack(folder, packed.get("body")),
        packed.get("content_type", "application/json"),
        Auth(packed.get("auth", "key")),
    )


def _response(folder: Path, recorded: dict[str, Any]) -> Response:
    body: bytes | None = None
    if "file" in recorded:
        body = read_picture(folder, recorded["file"])
    elif "json" in recorded:
        body = json.dumps(unpack(folder, recorded["json"])).encode()
    elif "text" in recorded:
        body = str(recorded["text"]).encode()
    return Response(recorded["status"], recorded["headers"], body, recorded.get("seconds"))
