"""The one command line: `python -m app.cli COMMAND`. Parses and calls; owns no behaviour.

Imports happen inside the commands: a worker must not pay for the API, nor the API for torch.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from redis.exceptions import RedisError

from app.core.settings import load_settings

if TYPE_CHECKING:
    from app.receipt_files import Statement


def main(argv: list[str] | None = None) -> int:
    """Exit code of the command; wrong usage and bad settings leave with one line."""
    arguments = _parser().parse_args(argv)
    logging.basicConfig(
        level=load_settings().log_level.upper(),
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    commands = {
        "up": _up,
        "api": _api,
        "worker": _worker,
        "keys": _keys,
        "doctor": _doctor,
        "receipt": _receipt,
    }
    command = commands[arguments.command]
    try:
        return command(arguments)
    except RedisError as error:
        raise SystemExit(f"{arguments.command}: Redis cannot be reached: {error}") from None
    except ValueError as error:
        raise SystemExit(f"{arguments.command}: {error}") from None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m app.cli", description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)

    up = commands.add_parser("up", help="everything on this machine, until Ctrl-C")
    up.add_argument("--host", default="127.0.0.1")
    up.add_argument("--port", type=int, default=8000)
    up.add_argument("--data-dir", type=Path, default=Path("data"))
    up.add_argument("--checkpoint", default=None)
    up.add_argument("--api-key", default=None)

    api = commands.add_parser("api", help="the HTTP process")
    api.add_argument("--host", default="127.0.0.1")
    api.add_argument("--port", type=int, default=8000)

    worker = commands.add_parser("worker", help="a worker process")
    worker.add_argument("kind", choices=["cpu", "gpu"])

    keys = commands.add_parser("keys", help="API keys").add_subparsers(dest="action", required=True)
    keys.add_parser("create").add_argument("--name", required=True)
    keys.add_parser("list")
    keys.add_parser("revoke").add_argument("id")

    receipt = commands.add_parser("receipt", help="where a picture comes from")
    actions = receipt.add_subparsers(dest="action", required=True)
    verify = actions.add_parser("verify", help="did this installation make it")
    verify.add_argument("file", type=Path, help="a receipt as JSON, or a picture")
    again = actions.add_parser("replay", help="make it again and compare")
    again.add_argument("file", type=Path, help="a receipt as JSON, or a picture")
    again.add_argument("--image", type=Path, help="the control picture; else the linked map")
    again.add_argument("--url", default="http://127.0.0.1:8000")
    again.add_argument("--key", required=True)
    commands.add_parser("doctor", help="what this machine has, and how a model would use it")
    return parser


def _up(arguments: argparse.Namespace) -> int:
    from app.supervisor import Supervisor, UpOptions

    given = {"checkpoint": arguments.checkpoint} if arguments.checkpoint else {}
    settings = load_settings(**given, data_dir=arguments.data_dir.resolve())
    options = UpOptions(arguments.host, arguments.port, arguments.api_key)
    return Supervisor(options, settings).run()


def _api(arguments: argparse.Namespace) -> int:
    from app.api.serving import serve
    from app.main import create_app

    settings = load_settings()
    app = create_app(settings)
    drain = app.state.services.drain
    serve(app, settings, arguments.host, arguments.port, drain)
    return 0


def _worker(arguments: argparse.Namespace) -> int:
    # By name: app must not import worker, and the cpu worker must not load torch.
    processes = importlib.import_module("worker.main")
    return int(processes.run_cpu() if arguments.kind == "cpu" else processes.run_gpu())


def _doctor(_arguments: argparse.Namespace) -> int:
    return int(importlib.import_module("worker.doctor").main())


def _receipt(arguments: argparse.Namespace) -> int:
    from app.receipt_files import read_statement

    try:
        statement = read_statement(arguments.file)
        if arguments.action == "replay":
            return _replay(arguments, statement)
    except OSError as error:
        raise ValueError(f"{error.filename}: {error.strerror}") from None
    from app.core.connection import connect
    from app.core.receipts import ReceiptSigner

    fault = statement.fault(ReceiptSigner(connect(load_settings().redis_url)))
    print(fault or "genuine: signed by this installation and unchanged")
    return 1 if fault else 0


def _replay(arguments: argparse.Namespace, statement: Statement) -> int:
    from app.replay import Api, replay

    all_same = True
    for same, line in replay(statement, arguments.image, Api(arguments.url, arguments.key)):
        all_same &= same
        print(line)
    return 0 if all_same else 1


def _keys(arguments: argparse.Namespace) -> int:
    from app.core.connection import connect
    from app.core.keys import KeyStore, mint

    store = KeyStore(connect(load_settings().redis_url))
    if arguments.action == "create":
        secret = mint()
        key = store.add(secret, arguments.name)
        print(f"id: {key.id}  key: {secret}  (shown only now)")
    elif arguments.action == "list":
        for key in store.all():
            print(f"{key.id}  {key.name}")
    elif not store.revoke(arguments.id):
        print(f"no key has the id {arguments.id}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
