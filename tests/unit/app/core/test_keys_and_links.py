"""Keys are stored as hashes only; links open what we signed and nothing else."""

from __future__ import annotations

import re
import time

import pytest
from redis import Redis

from app.core.keys import KeyStore, mint
from app.core.links import LinkSigner


def test_a_minted_key_has_the_hosted_form_and_128_bits() -> None:
    assert re.fullmatch(r"SG_[0-9a-f]{32}", mint())
    assert mint() != mint()


def test_a_key_lives_until_it_is_revoked(redis: Redis) -> None:
    store, secret = KeyStore(redis), mint()
    key = store.add(secret, "team-a")
    assert store.all() == [key]
    assert store.revoke(key.id)
    assert store.all() == []
    assert not store.revoke(key.id)


def test_redis_never_sees_a_secret(redis: Redis) -> None:
    secret = mint()
    KeyStore(redis).add(secret, "team-a")
    dump = repr([redis.hgetall(key) for key in redis.scan_iter()])
    assert secret not in dump
    assert secret.removeprefix("SG_") not in dump


def test_part_of_an_id_revokes_nothing(redis: Redis) -> None:
    store, secret = KeyStore(redis), mint()
    key = store.add(secret, "a")
    for part in ("", key.id[:1], key.id[:-1], key.id + "0"):
        assert not store.revoke(part)
    assert store.all() == [key]


@pytest.mark.parametrize("name", ["", "two\nlines", "x" * 65, "tab\t"])
def test_a_name_is_one_short_printable_line(redis: Redis, name: str) -> None:
    with pytest.raises(ValueError, match="a name has 1 to 64"):
        KeyStore(redis).add(mint(), name)


def signed(signer: LinkSigner, path: str, expires_at: int) -> tuple[str, str]:
    match = re.fullmatch(re.escape(path) + r"\?exp=(\d+)&sig=(\w+)", signer.sign(path, expires_at))
    assert match is not None
    return match[1], match[2]


def test_a_signed_link_is_valid_on_every_replica(redis: Redis) -> None:
    expires, signature = signed(LinkSigner(redis), "/files/a/0.png", int(time.time()) + 60)
    assert LinkSigner(redis).valid("/files/a/0.png", expires, signature)


@pytest.mark.parametrize(
    ("path", "expires", "signature"),
    [
        ("/files/b/0.png", None, None),
        ("/files/a/0.png", "9999999999", None),
        ("/files/a/0.png", None, "0" * 32),
        ("/files/a/0.png", None, ""),
        ("/files/a/0.png", "", None),
        ("/files/a/0.png", "٣", None),
        ("/files/a/0.png", "1" * 5000, None),
        ("/files/a/0.png", None, "é"),
    ],
)
def test_a_link_that_was_not_signed_is_refused(
    redis: Redis, path: str, expires: str | None, signature: str | None
) -> None:
    signer = LinkSigner(redis)
    good_expiry, good_signature = signed(signer, "/files/a/0.png", int(time.time()) + 60)
    expires = good_expiry if expires is None else expires
    signature = good_signature if signature is None else signature
    assert not signer.valid(path, expires, signature)


def test_a_link_of_ours_is_known_on_any_host(redis: Redis) -> None:
    signer, request_id = LinkSigner(redis), "a" * 32
    link = signer.sign(f"/files/{request_id}/2.png", int(time.time()) + 60)
    for origin in ("http://10.1.2.3:8000", "https://pictures.corp/api", ""):
        assert signer.own_output(origin + link) == (request_id, "2")
    other = "1" if link.endswith("0") else "0"
    for forged in (
        f"http://x{link[:-1]}{other}",
        f"http://x{link}".replace("/2.png", "/3.png"),
        f"http://x/files/{request_id}/2.png",
        "http://[",
        "http://x/other.png?exp=1&sig=2",
    ):
        assert signer.own_output(forged) is None


def test_an_expired_link_is_refused(redis: Redis) -> None:
    signer = LinkSigner(redis)
    expires, signature = signed(signer, "/files/a/0.png", int(time.time()) - 1)
    assert not signer.valid("/files/a/0.png", expires, signature)
