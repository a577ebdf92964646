"""Which network addresses the fetcher may reach. Pure functions over ipaddress objects.

`ipaddress.is_global` alone is not enough: it calls NAT64, 6to4 and v4-compatible forms of private
addresses global, and multicast too. So an address is unwrapped first and every layer must pass.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_NAT64 = (IPv6Network("64:ff9b::/96"), IPv6Network("64:ff9b:1::/48"))
_HOST = re.compile(r"([\w.-]+|\[[0-9a-fA-F:.]+\])(:\d{1,5})?")
_V4_COMPATIBLE = IPv6Network("::/96")
# Azure's platform address is public by its number and private by its meaning.
_DENIED = frozenset({IPv4Address("168.63.129.16")})


def is_public(address: Address) -> bool:
    """True when `address`, or the address wrapped inside it, belongs to the public internet.

    6to4, Teredo and v4-compatible addresses are refused whatever they wrap: nobody serves
    pictures from these tunnels any more.
    """
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return is_public(address.ipv4_mapped)
        if any(address in network for network in _NAT64):
            return is_public(IPv4Address(int(address) & 0xFFFFFFFF))
        if address.sixtofour or address.teredo or address in _V4_COMPATIBLE:
            return False
        if address.is_site_local:
            return False
    return (
        address.is_global
        and not address.is_multicast
        and not address.is_reserved
        and address not in _DENIED
    )


@dataclass(frozen=True, slots=True)
class AllowList:
    """The operator's exceptions: entries of FETCH_ALLOW_HOSTS (`host`, `host:port`, CIDR)."""

    hosts: frozenset[str]
    networks: tuple[Network, ...]

    @classmethod
    def parse(cls, entries: tuple[str, ...]) -> AllowList:
        """Raises ValueError with the entry that is none of the three forms."""
        hosts, networks = set(), []
        for entry in entries:
            if "/" in entry:
                networks.append(ip_network(entry, strict=False))
            elif _HOST.fullmatch(entry):
                hosts.add(entry.lower())
            else:
                raise ValueError(f"{entry!r} is no host, host:port or CIDR")
        return cls(frozenset(hosts), tuple(networks))

    def names(self, host: str, port: int) -> bool:
        """True when the operator named this host, alone or with this port."""
        host = host.lower()
        shown = f"[{host}]" if ":" in host else host
        return not self.hosts.isdisjoint({host, shown, f"{shown}:{port}"})

    def holds(self, address: Address) -> bool:
        """True when a CIDR of the operator holds this address."""
        return any(address in network for network in self.networks)


def parse_address(text: str) -> Address:
    """An address as the resolver gives it, without an IPv6 zone."""
    return ip_address(text.split("%", 1)[0])
