"""Which addresses are public, in every disguise."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from app.core.egress.addresses import PORTS, AllowList, is_public, parse_address
from tests.support.hostile import PRIVATE

RESERVED = """
192.0.0.8 192.0.2.1 192.88.99.1 198.18.0.1 198.51.100.1 203.0.113.1 224.0.0.1 239.255.255.255
240.0.0.1 255.255.255.255 :: 100::1 2001::1 2001:db8::1 2001:20::1 2002:808:808::1 3fff::1 4000::1
5f00::1 a000::1 fec0::1 ff02::1 ff0e::1
""".split()

PUBLIC = """
1.1.1.1 8.8.8.8 93.184.215.14 2606:4700:4700::1111 2a00:1450:4001:800::200e ::ffff:8.8.8.8
64:ff9b::808:808
""".split()


@pytest.mark.parametrize("address", [*PRIVATE.values(), *RESERVED])
def test_private_addresses_are_not_public(address: str) -> None:
    assert not is_public(ip_address(address))


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_public(address: str) -> None:
    assert is_public(ip_address(address))


def test_the_allow_list_knows_hosts_ports_and_networks() -> None:
    allow = AllowList.parse(("images.corp", "10.1.2.3:9000", "192.168.0.0/16", "[fd00::1]:80"))
    assert allow.allows_host("IMAGES.corp", 1234)
    assert allow.allows_host("10.1.2.3", 9000)
    assert not allow.allows_host("10.1.2.3", 80)
    assert allow.allows_host("fd00::1", 80)
    assert not allow.allows_host("evil-images.corp", 80)
    assert allow.allows_address(ip_address("192.168.7.7"))
    assert not allow.allows_address(ip_address("10.1.2.3"))


def test_names_are_known_in_every_spelling() -> None:
    allow = AllowList.parse(("Bücher.intern", "pics.intern.", "a.intern.:81"))
    assert allow.allows_host("xn--bcher-kva.intern", 80)
    assert allow.allows_host("pics.intern", 80)
    assert allow.allows_host("a.intern", 81)


@pytest.mark.parametrize(
    "entry", ["[2001:DB8:0::1]:81", "[2001:db8::1]:081", "[2001:0db8:0:0:0:0:0:1]:81"]
)
def test_an_ipv6_address_is_known_in_every_spelling(entry: str) -> None:
    allow = AllowList.parse((entry,))
    assert allow.allows_host("2001:db8::1", 81)
    assert allow.allows_host("2001:DB8::0:1", 81)
    assert not allow.allows_host("2001:db8::1", 80)
    assert not allow.allows_host("2001:db8::2", 81)


def test_an_entry_without_a_port_is_for_every_port() -> None:
    allow = AllowList.parse(("[fd00::1]", "pics.intern"))
    for port in (1, 80, 65535):
        assert allow.allows_host("fd00::1", port)
        assert allow.allows_host("PICS.intern.", port)
    assert not allow.allows_host("not a host", 80)


@pytest.mark.parametrize("entry", ["::1", "a:0", "a:65536", "[10.0.0.1]", "a b", "a..b", "*.corp"])
def test_an_entry_that_could_never_match_is_refused(entry: str) -> None:
    with pytest.raises(ValueError, match="is no host, host:port or CIDR$"):
        AllowList.parse((entry,))


@pytest.mark.parametrize(
    ("entry", "inside", "outside"),
    [
        ("10.1.2.3/8", "10.255.0.1", "11.0.0.0"),  # bits of the host are let pass
        ("10.1.2.3/32", "10.1.2.3", "10.1.2.4"),
        ("fd00::/8", "fdff::1", "fe00::1"),
        ("2001:DB8::/32", "2001:db8:ffff::", "2001:db9::"),
    ],
)
def test_a_network_holds_its_addresses(entry: str, inside: str, outside: str) -> None:
    allow = AllowList.parse((entry,))
    assert allow.allows_address(ip_address(inside))
    assert not allow.allows_address(ip_address(outside))


@pytest.mark.parametrize(
    ("first", "last"),
    [
        ("168.63.129.16", "168.63.129.16"),
        ("192.0.0.0", "192.0.0.255"),
        ("192.88.99.0", "192.88.99.255"),
        ("2001::", "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff"),
        ("2002::", "2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
        ("3fff::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff"),
        ("4000::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
        ("::", "1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
    ],
)
def test_a_refused_range_is_refused_from_end_to_end(first: str, last: str) -> None:
    assert not is_public(ip_address(first))
    assert not is_public(ip_address(last))


@pytest.mark.parametrize(
    "beside",
    [
        *("168.63.129.15", "168.63.129.17", "192.88.98.255", "192.88.100.0", "192.0.1.0"),
        *("2001:200::", "2003::", "3ffe:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "3fff:1000::"),
        *("64:ff9b::101:101", "::ffff:1.1.1.1"),
    ],
)
def test_an_address_beside_a_refused_range_is_public(beside: str) -> None:
    assert is_public(ip_address(beside))


def test_the_ports_of_the_web() -> None:
    assert frozenset({80, 443, 8080, 8443}) == PORTS


def test_an_address_of_the_resolver_loses_its_zone() -> None:
    assert parse_address("fe80::1%eth0") == ip_address("fe80::1")
    assert parse_address("10.0.0.1") == ip_address("10.0.0.1")


def test_a_bad_network_is_refused() -> None:
    with pytest.raises(ValueError, match="10.0.0.0/99"):
        AllowList.parse(("10.0.0.0/99",))
