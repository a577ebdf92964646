"""Which addresses are public, in every disguise."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from app.core.addresses import AllowList, is_public
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
    assert allow.names("IMAGES.corp", 1234)
    assert allow.names("10.1.2.3", 9000)
    assert not allow.names("10.1.2.3", 80)
    assert allow.names("fd00::1", 80)
    assert not allow.names("evil-images.corp", 80)
    assert allow.holds(ip_address("192.168.7.7"))
    assert not allow.holds(ip_address("10.1.2.3"))


def test_names_are_known_in_every_spelling() -> None:
    allow = AllowList.parse(("Bücher.intern", "pics.intern.", "a.intern.:81"))
    assert allow.names("xn--bcher-kva.intern", 80)
    assert allow.names("pics.intern", 80)
    assert allow.names("a.intern", 81)


def test_a_bad_network_is_refused() -> None:
    with pytest.raises(ValueError, match="10.0.0.0/99"):
        AllowList.parse(("10.0.0.0/99",))
