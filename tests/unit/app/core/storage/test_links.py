"""Signed links: their path, how long they live, and which URLs are links of ours."""

from __future__ import annotations

import re
import time

import pytest
from redis import Redis

from app.core.storage.links import LinkSigner, output_path, shared_secret, upload_path

ID, SHA256 = "0123456789abcdef" * 2, "0123456789abcdef" * 4
LATER = int(time.time()) + 86_400  # longer than the tests may take


@pytest.fixture
def signer(redis: Redis) -> LinkSigner:
    return LinkSigner(redis)


def query(link: str) -> tuple[str, str]:
    """Expiry and signature of a link."""
    found = re.fullmatch(r"[^?]+\?exp=(\d+)&sig=([0-9a-f]{32})", link)
    assert found is not None
    return found[1], found[2]


def test_the_paths_of_links() -> None:
    assert output_path(ID, "0.jpeg") == f"/files/{ID}/0.jpeg"
    assert upload_path(SHA256, "png") == f"/uploads/{SHA256}.png"


def test_a_secret_is_made_once_of_256_bits(redis: Redis) -> None:
    secret = shared_secret(redis, "secret:a")
    assert len(secret) == 32
    assert shared_secret(redis, "secret:a") == secret
    assert shared_secret(redis, "secret:b") != secret
    assert redis.get("secret:a") == secret
    assert redis.ttl("secret:a") == -1


def test_a_link_has_its_expiry_and_128_bits_of_signature(signer: LinkSigner) -> None:
    expires_at, signature = query(signer.sign("/files/a/0.png", LATER))
    assert expires_at == str(LATER)
    assert signer.valid("/files/a/0.png", expires_at, signature)


def test_a_link_lives_until_the_second_of_its_expiry(
    signer: LinkSigner, monkeypatch: pytest.MonkeyPatch
) -> None:
    expires_at, signature = query(signer.sign("/x", 1000))
    for now, valid in ((999.999, True), (1000.0, False), (1001.0, False)):
        monkeypatch.setattr(time, "time", lambda now=now: now)
        assert signer.valid("/x", expires_at, signature) is valid


@pytest.mark.parametrize(("digits", "valid"), [(12, True), (13, False)])
def test_an_expiry_has_at_most_twelve_digits(signer: LinkSigner, digits: int, valid: bool) -> None:
    expires_at = 10 ** (digits - 1)
    assert signer.valid("/x", *query(signer.sign("/x", expires_at))) is valid


@pytest.mark.parametrize("changed", ["{}0", "0{}", "+{}", "{} ", "\u0661{}", "-{}", "{}.0", ""])
def test_another_spelling_of_the_expiry_is_none(signer: LinkSigner, changed: str) -> None:
    expires_at, signature = query(signer.sign("/x", LATER))
    same_number = changed == "0{}"  # what is signed is the number
    assert signer.valid("/x", changed.format(expires_at), signature) is same_number


def test_an_expiry_in_digits_of_another_script_is_none(signer: LinkSigner) -> None:
    expires_at, signature = query(signer.sign("/x", LATER))
    arabic = "".join(chr(0x660 + int(digit)) for digit in expires_at)
    assert int(arabic) == LATER
    assert not signer.valid("/x", arabic, signature)


def test_the_signature_covers_path_and_expiry_apart(signer: LinkSigner) -> None:
    expires_at, signature = query(signer.sign("/x", LATER))
    assert not signer.valid("/y", expires_at, signature)
    for between in ("", "\n"):
        path = f"/x{between}{expires_at[0]}"
        assert not signer.valid(path, expires_at[1:], signature)
    assert not signer.valid("/x", expires_at, signature[:-1])
    assert not signer.valid("/x", expires_at, signature.upper())


@pytest.mark.parametrize("stem", [*"0123456789", "map"])
def test_a_link_to_a_picture_is_ours_on_any_host(signer: LinkSigner, stem: str) -> None:
    link = signer.sign(output_path(ID, f"{stem}.png"), LATER)
    for origin in ("http://[::1]:8000", "https://A.example./api", "HTTP://user@a.example", ""):
        assert signer.own_output(origin + link) == (ID, stem)
        assert signer.own_upload(origin + link) is None
        assert signer.own_output(f"{origin}{link}&x=y#z") == (ID, stem)


def test_a_link_to_an_upload_is_ours_on_any_host(signer: LinkSigner) -> None:
    link = signer.sign(upload_path(SHA256, "webp"), LATER)
    for origin in ("http://[::1]:8000", "https://a.example/api", ""):
        assert signer.own_upload(origin + link) == SHA256
        assert signer.own_output(origin + link) is None


@pytest.mark.parametrize(
    "path",
    [
        *(f"/files/{ID[1:]}/0.png", f"/files/{ID}/10.png", f"/files/{ID}/source.png"),
        *(
            f"/files/{ID}/0.PNG",
            f"/files/{ID}/0",
            f"/files/{ID}/0.png/x",
            f"/files/{ID.upper()}/0.a",
        ),
        *(f"/uploads/{SHA256[1:]}.png", f"/uploads/{SHA256}", f"/uploads/{SHA256}.png/x", "/x"),
    ],
)
def test_a_signed_link_to_another_path_is_no_picture_of_ours(signer: LinkSigner, path: str) -> None:
    link = signer.sign(path, LATER)
    assert signer.own_output(f"http://a{link}") is None
    assert signer.own_upload(f"http://a{link}") is None


@pytest.mark.parametrize("url", ["http://[", "", "x", "http://a/?exp=1&sig=2"])
def test_an_invalid_link_is_not_ours(signer: LinkSigner, url: str) -> None:
    assert signer.own_output(url) is None
    assert signer.own_upload(url) is None


def test_a_link_that_is_over_is_none_of_ours(signer: LinkSigner) -> None:
    over = int(time.time())
    assert signer.own_output("http://a" + signer.sign(output_path(ID, "0.png"), over)) is None
    unsigned = output_path(ID, "0.png")
    assert signer.own_output(f"http://a{unsigned}") is None
    assert signer.own_output(f"http://a{unsigned}?exp={LATER}") is None


def test_a_signed_link_is_valid_on_every_replica(redis: Redis) -> None:
    expires, signature = query(LinkSigner(redis).sign("/files/a/0.png", LATER))
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
    good_expiry, good_signature = query(signer.sign("/files/a/0.png", LATER))
    expires = good_expiry if expires is None else expires
    signature = good_signature if signature is None else signature
    assert not signer.valid(path, expires, signature)


def test_a_link_with_another_signature_or_file_is_none_of_ours(signer: LinkSigner) -> None:
    link = signer.sign(output_path(ID, "2.png"), LATER)
    other = "1" if link.endswith("0") else "0"
    assert signer.own_output(f"http://x{link[:-1]}{other}") is None
    assert signer.own_output(f"http://x{link}".replace("/2.png", "/3.png")) is None
