"""The one command line: `python -m app.cli COMMAND`. Parses and calls; owns no behaviour.

Imports happen inside the commands: a worker must not pay for the API, nor the API for torch.
"""

from __future__ import annotations

import argparse
import errno
import logging
import sys
from typing import TYPE_CHECKING

from redis.exceptions import RedisError

from app.commands.parser import make_parser
from app.core.settings import Settings, load_settings
from app.core.system.exit import EXIT_CONFIG, exit_later, refuse
from app.core.system.private_files import close_to_others, mask_others
from app.core.telemetry import logs, tracing

log = logging.getLogger(__name__)

_SERVING = ("api", "worker")

if TYPE_CHECKING:
    from app.commands.receipt_files import Statement


def main(argv: list[str] | None = None) -> int:
    """Exit code of the command. What cannot work leaves with one line, and with EXIT_CONFIG unless
    it is only that Redis does not answer."""
    arguments = make_parser().parse_args(argv)
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
        "usage": _usage,
        "redis": _redis,
        "models": _models,
        "doctor": _doctor,
        "receipt": _receipt,
    }
    command = commands[arguments.command]
    try:
        return command(arguments)
    except RedisError as error:
        from app.core.redis.connection import what_is_wrong

        starts = arguments.command in (*_SERVING, "up")
        settings = load_settings() if starts else _settings_of_server()
        said = what_is_wrong(error, settings.redis_url)
        raise SystemExit(f"{arguments.command}: {said}") from None
    except OSError as error:
        refuse(f"{arguments.command}: {_of_the_system(error)}")
    except ValueError as error:
        refuse(f"{arguments.command}: {error}")
    finally:
        tracing.stop()


def _settings_of_server() -> Settings:
    """For a command about a running server: with Redis and DATA_DIR of the `up` that runs in this
    checkout, where the settings name none."""
    from app.standalone.running_server import of_running_server

    return of_running_server(load_settings())


def _of_the_system(error: OSError) -> str:
    """One line; a disk that is full or must not be written to has its remedy."""
    where = f"{error.filename}: " if error.filename else ""
    said = f"{where}{error.strerror or error}"
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES):
        said += "; make room, or set DATA_DIR to a folder that can be written"
    return said


def _up(arguments: argparse.Namespace) -> int:
    from app.core.redis.startup_check import connected_client
    from app.standalone.embedded_redis import has_own_redis
    from app.standalone.installation_key import check_secret, given_key
    from app.standalone.supervisor import Supervisor, UpOptions

    mask_others()

    named = {"checkpoint": arguments.checkpoint, "data_dir": arguments.data_dir}
    settings = load_settings(**{name: value for name, value in named.items() if value})
    if not has_own_redis(settings):
        # This command starts no Redis but its own: any other must be running.
        connected_client(settings.redis_url).close()
    if arguments.api_key:
        check_secret(arguments.api_key)
    key = arguments.api_key or given_key(settings)
    # What stands on the command line is no secret on this machine.
    show = arguments.show_key or bool(arguments.api_key)
    options = UpOptions(arguments.host, arguments.port, key, show)
    return Supervisor(options, settings).run()


def _api(arguments: argparse.Namespace) -> int:
    from app.api.http.server import serve
    from app.core.redis.startup_check import require_access
    from app.main import create_app

    settings = load_settings()
    _keep_private(settings)
    require_access(settings.redis_url)
    app = create_app(settings)
    drain = app.state.services.drain
    serve(app, settings, arguments.host, arguments.port, drain)
    return 0


def _worker(arguments: argparse.Namespace) -> int:
    from app.commands.worker import run_worker
    from app.core.redis.startup_check import require_access

    settings = load_settings()
    _keep_private(settings)
    require_access(settings.redis_url)
    code = run_worker(arguments.kind)
    if code == EXIT_CONFIG and arguments.back_off:
        log.info("the worker exits in %g s, without its model until then", arguments.back_off)
        exit_later(arguments.back_off, code)
    return code


def _keep_private(settings: Settings) -> None:
    """Of a process that serves: what it writes, and DATA_DIR, is for its user alone."""
    mask_others()
    close_to_others(settings.data_dir.resolve())


def _health(arguments: argparse.Namespace) -> int:
    from app.commands.health import api_illness, worker_illness

    if arguments.kind == "api":
        illness = api_illness(arguments.port)
    else:
        illness = worker_illness(_settings_of_server().redis_url)
    print(illness or "well")
    return 1 if illness else 0


def _redis(arguments: argparse.Namespace) -> int:
    from app.standalone.redis_repair import repair

    return repair((arguments.data_dir or load_settings().data_dir).resolve())


def _models(arguments: argparse.Namespace) -> int:
    if arguments.action == "loras":
        return _loras(arguments)
    from app.commands.worker import download, list_models

    if arguments.action == "list":
        return list_models(load_settings())
    return download(load_settings(), arguments.name)


def _loras(arguments: argparse.Namespace) -> int:
    from app.commands.loras import check_lora, list_loras

    if arguments.lora_action == "list":
        return list_loras(load_settings())
    return check_lora(arguments.file)


def _doctor(arguments: argparse.Namespace) -> int:
    from app.doctor import assume, examine

    if arguments.assume_card is not None:
        sizes = arguments.assume_card, arguments.assume_ram
        return assume(load_settings(), arguments.json, *sizes)
    if arguments.assume_ram is not None:
        raise ValueError("--assume-ram needs --assume-card")
    return examine(_settings_of_server(), arguments.json, arguments.hash, arguments.fetch)


def _receipt(arguments: argparse.Namespace) -> int:
    from app.commands.receipt_files import read_statement

    try:
        statement = read_statement(arguments.file)
        if arguments.action == "replay":
            return _replay(arguments, statement)
    except OSError as error:
        raise ValueError(f"{error.filename}: {error.strerror}") from None
    from app.core.receipts import ReceiptSigner
    from app.core.redis.startup_check import connected_client

    fault = statement.fault(ReceiptSigner(connected_client(_settings_of_server().redis_url)))
    print(fault or "genuine: signed by this installation and unchanged")
    return 1 if fault else 0


def _replay(arguments: argparse.Namespace, statement: Statement) -> int:
    from app.commands.replay import Api, replay
    from app.standalone.installation_key import given_key

    key = arguments.key or given_key(load_settings())
    if not key:
        raise ValueError("a key is needed: --key, or better API_KEY or API_KEY_FILE")
    all_same = True
    given = {"image": arguments.image, "control_image": arguments.map}
    control = next(((name, files) for name, files in given.items() if files), None)
    for same, line in replay(statement, control, Api(arguments.url, key)):
        all_same &= same
        print(line)
    return 0 if all_same else 1


def _keys(arguments: argparse.Namespace) -> int:
    from app.commands.keys import run
    from app.core.accounts.api_keys import KeyStore
    from app.core.egress.addresses import AllowList
    from app.core.redis.startup_check import connected_client

    settings = _settings_of_server()
    allow = AllowList.parse(settings.fetch_allow_hosts)
    return run(KeyStore(connected_client(settings.redis_url)), allow, arguments)


def _usage(arguments: argparse.Namespace) -> int:
    from app.commands.usage import report
    from app.core.accounts.usage import Usage
    from app.core.redis.startup_check import connected_client

    usage = Usage(connected_client(_settings_of_server().redis_url))
    print(report(usage, arguments), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
