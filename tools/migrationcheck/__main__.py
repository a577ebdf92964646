"""Records what an API answers, and compares a recording with this server or another recording.

Exit code: 0 without a difference, 1 with one, 2 if the check could not run.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from app.core.clock import rfc3339
from tools.migrationcheck.calls import built_in
from tools.migrationcheck.client import Server
from tools.migrationcheck.comparison import Finding, Verdict, compare
from tools.migrationcheck.exchanges import CannotRunError, Exchange
from tools.migrationcheck.recording import folder_of, read, read_calls, write


def main(argv: Sequence[str] | None = None) -> int:
    arguments = _parser().parse_args(argv)
    try:
        return _record(arguments) if arguments.command == "record" else _compare(arguments)
    except (CannotRunError, OSError) as error:
        print(f"compare_with_segmind: {error}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="scripts/compare_with_segmind", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    record = commands.add_parser("record", help="call an API; the hosted one bills five calls")
    record.add_argument("folder", type=Path, help="a new folder for the recording")
    record.add_argument("--url", required=True, help="such as https://api.segmind.com")
    record.add_argument("--requests", type=Path, metavar="FILE", help="your own calls, JSON Lines")
    record.add_argument("--preprocess", action="store_true", help="the control map alone, too")
    replay = commands.add_parser("compare", help="replay a recording and compare the responses")
    replay.add_argument("recording", help="a folder, or `published` or `server`, which are shipped")
    other = replay.add_mutually_exclusive_group(required=True)
    other.add_argument("--url", help="the server to call, such as http://127.0.0.1:8000")
    other.add_argument("--against", metavar="RECORDING", help="instead of a server; calls nothing")
    for command, variable in (record, "SEGMIND_API_KEY"), (replay, "API_KEY"):
        help_text = f"a file with the key; without it the variable {variable} has it"
        command.add_argument("--key-file", type=Path, metavar="FILE", help=help_text)
        command.set_defaults(key_variable=variable)
    return parser


def _record(arguments: argparse.Namespace) -> int:
    server = _server(arguments)
    calls = (
        read_calls(arguments.requests)
        if arguments.requests
        else list(built_in(arguments.preprocess))
    )
    exchanges = _announced(server.perform(call) for call in calls)
    write(arguments.folder, server.url, rfc3339(time.time()), exchanges, server.key)
    return 0


def _announced(exchanges: Iterator[Exchange]) -> Iterator[Exchange]:
    for exchange in exchanges:
        statuses = ", ".join(
            f"{step} {response.status}" for step, response in exchange.responses.items()
        )
        print(f"{exchange.call.name}: {statuses}", flush=True)
        yield exchange


def _compare(arguments: argparse.Namespace) -> int:
    recorded = read(folder_of(arguments.recording))
    counted: Counter[Verdict] = Counter()
    for before, after in zip(recorded, _replayed(arguments, recorded), strict=True):
        for finding in compare(before, after):
            counted[finding.verdict] += 1
            print(_line(finding), flush=True)
    print(f"{len(recorded)} calls, {counted[Verdict.DIFFERENT]} differences")
    return 1 if counted[Verdict.DIFFERENT] else 0


def _replayed(arguments: argparse.Namespace, recorded: list[Exchange]) -> Iterator[Exchange]:
    if arguments.against:
        others = {other.call.name: other for other in read(folder_of(arguments.against))}
        for exchange in recorded:
            yield others.get(exchange.call.name, Exchange(exchange.call, {}))
        return
    server = _server(arguments)
    for exchange in recorded:
        yield server.perform(exchange.call)


def _server(arguments: argparse.Namespace) -> Server:
    variable = arguments.key_variable
    file: Path | None = arguments.key_file
    key = file.read_text().strip() if file else os.environ.get(variable, "")
    if not key:
        raise CannotRunError(f"a key is needed: --key-file or the variable {variable}")
    return Server(arguments.url.rstrip("/").removesuffix("/v1"), key)


def _line(finding: Finding) -> str:
    place = f"{finding.call} {finding.step}"
    return f"{finding.verdict:9}  {place:29}  {finding.aspect:7}  {finding.text}".rstrip()


if __name__ == "__main__":
    sys.exit(main())
