"""The one command line: `python -m app.cli COMMAND`. Parses and calls; owns no behaviour.

Imports happen inside the commands: a worker must not pay for the API, nor the API for torch.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path

from redis.exceptions import RedisError

from app.core.settings import load_settings
from app.core.telemetry import logs, tracing

_SERVING = ("api", "worker")


def main(argv: list[str] | None = None) -> int:
    """Exit code of the command; wrong usage and bad settings leave with one line."""
    arguments = _parser().parse_args(argv)
    settings = load_settings()
    process = " ".join([getattr(arguments, "kind", ""), arguments.command]).strip()
    logs.install(process, settings.log_level, settings.log_format)
    if arguments.command in _SERVING and tracing.wanted():
        tracing.start(process)
    commands = {
        "up": _up,
        "api": _api,
        "worker": _worker,
        "health": _health,
        "keys": _keys,
        "doctor": _doctor,
    }
    command = commands[arguments.command]
    try:
        return command(arguments)
    except RedisError as error:
        raise SystemExit(f"{arguments.command}: Redis cannot be reached: {error}") from None
    except ValueError as error:
        raise SystemExit(f"{arguments.command}: {error}") from None
    finally:
        tracing.stop()


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
    worker.add_argument("kind", choices=["cpu", "gpu", "webhooks"])

    health = commands.add_parser("health", help="0 when a process of this host is well")
    health.add_argument("kind", choices=["api", "worker"])
    health.add_argument("--port", type=int, default=8000, help="of the api")

    keys = commands.add_parser("keys", help="API keys").add_subparsers(dest="action", required=True)
    create = keys.add_parser("create", help="make a key; its secret is shown once")
    create.add_argument("--name", required=True, help="the owner of its requests")
    create.add_argument("--credits", type=float, help="its budget; without one it has no limit")
    create.add_argument("--rpm", type=int, help="submissions in any 60 seconds")
    create.add_argument("--concurrency", type=int, help="unfinished requests at a time")
    create.add_argument("--expires", help="a period (12h, 30d), or a date or time (ISO 8601)")
    create.add_argument("--admin", action="store_true", help="may manage keys over HTTP")
    keys.add_parser("list", help="all keys, their bounds and what is left of their budgets")
    keys.add_parser("revoke", help="end a key at once").add_argument("id")
    top_up = keys.add_parser("topup", help="add to a key's budget")
    top_up.add_argument("id")
    top_up.add_argument("credits", type=float)
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
    from app.core.access import require_access
    from app.main import create_app

    settings = load_settings()
    require_access(settings.redis_url)
    app = create_app(settings)
    drain = app.state.services.drain
    serve(app, settings, arguments.host, arguments.port, drain)
    return 0


def _worker(arguments: argparse.Namespace) -> int:
    from app.core.access import require_access

    require_access(load_settings().redis_url)
    # By name: app must not import worker, and the cpu worker must not load torch.
    processes = importlib.import_module("worker.main")
    return int(getattr(processes, f"run_{arguments.kind}")())


def _health(arguments: argparse.Namespace) -> int:
    from app.health import api_illness, worker_illness

    if arguments.kind == "api":
        illness = api_illness(arguments.port)
    else:
        illness = worker_illness(load_settings().redis_url)
    print(illness or "well")
    return 1 if illness else 0


def _doctor(_arguments: argparse.Namespace) -> int:
    return int(importlib.import_module("worker.doctor").main())


def _keys(arguments: argparse.Namespace) -> int:
    from app.core.access import require_access
    from app.core.connection import connect
    from app.core.keys import KeyStore
    from app.keys_command import run

    url = load_settings().redis_url
    require_access(url)
    return run(KeyStore(connect(url)), arguments)


if __name__ == "__main__":
    sys.exit(main())
