"""Which addresses are public, in every disguise."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from app.core.addresses import AllowList, is_public

PRIVATE = """
0.0.0.0 10.0.0.1 100.64.0.1 127.0.0.1 127.1.2.3 169.254.169.254 172.16.0.1 192.0.0.1 192.0.2.1
192.168.1.1 198.18.0.1 198.51.100.1 203.0.113.1 224.0.0.1 239.255.255.255 240.0.0.1
255.255.255.255 168.63.129.16 :: ::1 ::127.0.0.1 ::ffff:127.0.0.1 ::ffff:10.0.0.1
::ffff:169.254.169.254 ::ffff:168.63.129.16 64:ff9b::a9fe:a9fe 64:ff9b::7f00:1
64:ff9b:1::a9fe:a9fe 2002:a9fe:a9fe::1 2002:7f00:1:: 2001:0:7f00:1:0:0:80ff:fffe
2002:808:808::1 fc00::1 fd00:ec2::254 fe80::1 fec0::1 ff02::1 2001:db8::1
""".split()

PUBLIC = """
1.1.1.1 8.8.8.8 93.184.215.14 2606:4700:4700::1111 2a00:1450:4001:800::200e
""".split()


@pytest.mark.parametrize("address", PRIVATE)
def test_private_addresses_are_not_public(address: str) -> None:
    assert not is_public(ip_address(address))


@pytest.mark.parametrize("address", [*PUBLIC, "::ffff:8.8.8.8", "64:ff9b::808:808"])
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


def test_a_bad_network_is_refused() -> None:
    with pytest.raises(ValueError, match="10.0.0.0/99"):
        AllowList.parse(("10.0.0.0/99",))
