"""The parser of the command line: every command with its options. Calls nothing."""

from __future__ import annotations

import argparse
import math
import re
from datetime import date
from pathlib import Path

from app import VERSION

_DESCRIPTION = (
    "The one command line: `python -m app.cli COMMAND`. Parses and calls; owns no behaviour."
)


def make_parser() -> argparse.ArgumentParser:
    """Raises no error; argparse ends the process for a wrong command line."""
    parser = argparse.ArgumentParser(prog="python -m app.cli", description=_DESCRIPTION)
    parser.add_argument("--version", action="version", version=f"flux-controlnet-server {VERSION}")
    commands = parser.add_subparsers(dest="command", required=True)

    up = commands.add_parser("up", help="everything on this machine, until Ctrl-C")
    up.add_argument("--host", default="127.0.0.1")
    up.add_argument("--port", type=_port, default=8000)
    up.add_argument("--data-dir", type=Path, default=None)
    up.add_argument("--checkpoint", default=None)
    up.add_argument(
        "--api-key", default=None, help="its key; everybody on this machine sees it, so see API_KEY"
    )
    up.add_argument("--show-key", action="store_true", help="print the key though it is not new")

    api = commands.add_parser("api", help="the HTTP process")
    api.add_argument("--host", default="127.0.0.1")
    api.add_argument("--port", type=_port, default=8000)

    worker = commands.add_parser("worker", help="a worker process")
    worker.add_argument("kind", choices=["fetch", "cpu", "gpu", "finish", "webhooks"])
    worker.add_argument(
        "--back-off",
        type=_seconds,
        default=0.0,
        metavar="SECONDS",
        help="before it exits because its model cannot be loaded, where every exit is a restart",
    )

    health = commands.add_parser("health", help="0 when a process of this host is well")
    health.add_argument("kind", choices=["api", "worker"])
    health.add_argument("--port", type=_port, default=8000, help="of the api")

    keys = commands.add_parser("keys", help="API keys").add_subparsers(dest="action", required=True)
    create = keys.add_parser("create", help="make a key; its secret is shown once")
    create.add_argument("--name", required=True, help="the owner of its requests")
    create.add_argument("--credits", type=float, help="its budget; without one it has no limit")
    create.add_argument("--rpm", type=int, help="submissions in any 60 seconds")
    create.add_argument("--concurrency", type=int, help="unfinished requests at a time")
    create.add_argument("--expires", help="a period (12h, 30d), or a date or time (ISO 8601)")
    create.add_argument("--admin", action="store_true", help="may manage keys over HTTP")
    create.add_argument(
        "--webhook-url", default="", help="default receiver of webhooks about its requests"
    )
    keys.add_parser("list", help="all keys, their bounds and what is left of their budgets")
    keys.add_parser("revoke", help="end a key at once").add_argument("id")
    top_up = keys.add_parser("topup", help="add to a key's budget")
    top_up.add_argument("id")
    top_up.add_argument("credits", type=float)

    usage = commands.add_parser("usage", help="what owners and keys used, by day")
    usage.add_argument(
        "--from", dest="first", type=_day, metavar="DAY", help="default: that month's first"
    )
    usage.add_argument("--to", dest="last", type=_day, metavar="DAY", help="default: today (UTC)")
    usage.add_argument(
        "--group-by",
        action="append",
        metavar="GROUPS",
        help="owner, key, day: separated by commas, or repeated; default: all",
    )
    usage.add_argument("--csv", action="store_true", help="instead of a table")

    redis = commands.add_parser("redis", help="the Redis of `up`")
    mend = redis.add_subparsers(dest="action", required=True).add_parser(
        "repair", help="cut its append-only file before a damage; a copy is kept"
    )
    mend.add_argument("--data-dir", type=Path, default=None)

    models = commands.add_parser("models", help="weights").add_subparsers(
        dest="action", required=True
    )
    models.add_parser("list", help="what can be served, under which licence, what is on this disk")
    loras = models.add_parser("loras", help="LoRA files").add_subparsers(
        dest="lora_action", required=True
    )
    loras.add_parser("list", help="the files of LORAS_DIR and what they hold")
    check = loras.add_parser("check", help="what a file holds; 1 when it would be refused")
    check.add_argument("file", type=Path)
    fetching = models.add_parser("download", help="fetch and check weights")
    fetching.add_argument("name", help="a model, or an annotator that a setting names")

    doctor = commands.add_parser("doctor", help="what is wrong here, and what to do about it")
    doctor.add_argument("--json", action="store_true")
    doctor.add_argument("--hash", action="store_true", help="read all weights and check them")
    doctor.add_argument(
        "--fetch", metavar="URL", action="append", default=[], help="a picture that must be reached"
    )
    doctor.add_argument(
        "--assume-card", type=_gigabytes, metavar="GB", help="only: the memory plan of such a card"
    )
    doctor.add_argument(
        "--assume-ram", type=_gigabytes, metavar="GB", help="with --assume-card; default: this RAM"
    )

    receipt = commands.add_parser("receipt", help="where a picture comes from")
    actions = receipt.add_subparsers(dest="action", required=True)
    verify = actions.add_parser("verify", help="did this installation make it")
    verify.add_argument("file", type=Path, help="a receipt as JSON, or a picture")
    again = actions.add_parser("replay", help="make it again and compare")
    again.add_argument("file", type=Path, help="a receipt as JSON, or a picture")
    control = again.add_mutually_exclusive_group()
    each = "; with several controls once for each"
    control.add_argument(
        "--image",
        type=Path,
        action="append",
        help=f"the control picture; else the linked map{each}, or once for all",
    )
    control.add_argument(
        "--map", type=Path, action="append", help=f"the ready map, sent as control_image{each}"
    )
    again.add_argument("--url", default="http://127.0.0.1:8000")
    again.add_argument("--key", help="an API key; better in API_KEY or API_KEY_FILE")
    return parser


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65_535:
        raise argparse.ArgumentTypeError(f"{text!r} is none of 0 to 65535")
    return int(text)


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a day such as 2026-11-30") from None


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 <= seconds < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds")
    return seconds


def _gigabytes(text: str) -> float:
    if re.fullmatch(r"[0-9]{1,5}(\.[0-9]+)?", text) is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of GB such as 24")
    return float(text)
