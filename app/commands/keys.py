"""`python -m app.cli keys ...`: what is asked of the keys and how the answer is printed."""

from __future__ import annotations

import sys
import time
from argparse import Namespace

from app.core.accounts.api_keys import KeyReport, KeyStore, Terms, parse_expiry
from app.core.clock import rfc3339
from app.core.egress.addresses import AllowList
from app.core.webhooks.message import check_key_target


def run(store: KeyStore, allow: AllowList, arguments: Namespace) -> int:
    """Exit code. allow: hosts inside that a webhook may go to. Raises ValueError, fit to be shown,
    for what a key cannot have."""
    if arguments.action == "create":
        check_key_target(arguments.webhook_url, allow)
    actions = {"create": _create, "list": _list, "revoke": _revoke, "topup": _top_up}
    return actions[arguments.action](store, arguments)


def _create(store: KeyStore, arguments: Namespace) -> int:
    expires = arguments.expires
    terms = Terms(
        credits=arguments.credits,
        rpm=arguments.rpm,
        concurrency=arguments.concurrency,
        expires_at=None if expires is None else parse_expiry(expires, time.time()),
        admin=arguments.admin,
        webhook_url=arguments.webhook_url,
    )
    secret, key = store.create(arguments.name, terms)
    print(f"id: {key.id}  key: {secret}  (shown only now)")
    return 0


def _list(store: KeyStore, _arguments: Namespace) -> int:
    for report in store.report():
        print(_line(report))
    return 0


def _revoke(store: KeyStore, arguments: Namespace) -> int:
    if store.revoke(arguments.id):
        return 0
    print(f"no key has the id {arguments.id}", file=sys.stderr)
    return 1


def _top_up(store: KeyStore, arguments: Namespace) -> int:
    balance = store.top_up(arguments.id, arguments.credits)
    if balance is None:
        print(f"no key with a budget has the id {arguments.id}", file=sys.stderr)
        return 1
    print(f"{arguments.id}  credits: {balance}")
    return 0


def _line(report: KeyReport) -> str:
    """Id and name; then only what there is to say."""
    key = report.key
    said = {
        "credits": report.credits,
        "spent": report.spent or None,
        **dict(sorted(report.spent_by_month.items())),
        "rpm": key.rpm,
        "concurrency": key.concurrency,
        "expires": key.expires_at and rfc3339(key.expires_at),
        "used": report.last_used and rfc3339(report.last_used),
        "admin": key.admin or None,
        "webhook": key.webhook_url or None,
    }
    words = [f"{name}: {value}" for name, value in said.items() if value is not None]
    return "  ".join([key.id, key.name, f"created: {rfc3339(key.created_at)}", *words])
