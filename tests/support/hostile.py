"""Addresses and spellings of URLs that could reach internal hosts, each with a test id."""

from __future__ import annotations

PRIVATE = {
    "this host": "0.0.0.0",
    "loopback": "127.0.0.1",
    "loopback, another": "127.1.2.3",
    "private 10": "10.0.0.1",
    "private 172": "172.16.0.1",
    "private 192": "192.168.1.1",
    "link-local": "169.254.1.1",
    "CGNAT": "100.64.0.1",
    "metadata": "169.254.169.254",
    "metadata of Alibaba": "100.100.100.200",
    "metadata of Azure": "168.63.129.16",
    "metadata of Oracle": "192.0.0.192",
    "metadata of AWS, IPv6": "fd00:ec2::254",
    "metadata of Google, IPv6": "fd20:ce::254",
    "loopback, IPv6": "::1",
    "unique local": "fc00::1",
    "link-local, IPv6": "fe80::1",
    "v4-mapped loopback": "::ffff:127.0.0.1",
    "v4-mapped private": "::ffff:10.0.0.1",
    "v4-mapped metadata": "::ffff:169.254.169.254",
    "v4-mapped metadata of Azure": "::ffff:168.63.129.16",
    "v4-compatible loopback": "::127.0.0.1",
    "v4-compatible metadata": "::169.254.169.254",
    "v4-translated private": "::ffff:0:10.0.0.1",
    "6to4 loopback": "2002:7f00:1::",
    "6to4 metadata": "2002:a9fe:a9fe::1",
    "Teredo": "2001:0:7f00:1:0:0:80ff:fffe",
    "NAT64 loopback": "64:ff9b::7f00:1",
    "NAT64 private": "64:ff9b::10.0.0.1",
    "NAT64 metadata": "64:ff9b::a9fe:a9fe",
    "NAT64 local, metadata": "64:ff9b:1::a9fe:a9fe",
    # 10.0.0.1 where a /48 carries it, with a public address in the last bits.
    "NAT64 local, RFC 6052": "64:ff9b:1:a00:0:100:808:808",
}

SPELLINGS = {
    "localhost": "localhost",
    "upper case": "LOCALHOST",
    "final dot": "localhost.",
    "decimal": "2130706433",
    "octal": "0177.0.0.1",
    "octal, whole": "017700000001",
    "hexadecimal": "0x7f.0.0.1",
    "hexadecimal, whole": "0x7f000001",
    "two parts": "127.1",
    "zero": "0",
    "final dot of an address": "127.0.0.1.",
    "full-width digits": "１２７.０.０.１",  # noqa: RUF001
    "circled digits": "①②⑦.⓪.⓪.①",
    "ideographic full stops": "127。0。0。1",
    "circled letters": "ⓛⓞⓒⓐⓛⓗⓞⓢⓣ",
    "long form": "[0:0:0:0:0:0:0:1]",
    "mapped, in hexadecimal": "[::ffff:7f00:1]",
    "mapped, long form": "[0:0:0:0:0:ffff:127.0.0.1]",
}
"""Hosts that are this machine, however they are written."""


def as_host(address: str) -> str:
    return f"[{address}]" if ":" in address else address
