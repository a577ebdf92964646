"""The network addresses that outgoing HTTP may reach. Pure functions over ipaddress objects.

`ipaddress.is_global` alone is not enough: for it, multicast and the NAT64, 6to4 and v4-compatible
forms of private addresses are global, and its tables change between patch releases of Python. So
this module unwraps an address first, checks every layer, and has its own list of refused networks.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)

from app.core.egress.hosts import authority, canonical_authority, canonical_host

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

PORTS = frozenset({80, 443, 8080, 8443})
"""Allowed ports of hosts that are not on the allow list."""

# The one prefix whose last 32 bits are always an IPv4 address (RFC 6052). In 64:ff9b:1::/48 their
# position varies, so it is refused like everything outside of 2000::/3.
_NAT64 = IPv6Network("64:ff9b::/96")
_GLOBAL_UNICAST = IPv6Network("2000::/3")
_REFUSED = tuple(
    ip_network(network)
    for network in (
        "168.63.129.16/32",  # Azure's platform: a public number, but a private service
        "192.0.0.0/24",  # protocol assignments; 192.0.0.192 is a metadata service
        "192.88.99.0/24",  # 6to4 relays
        "2001::/23",  # Teredo and other protocols of the IETF
        "2002::/16",  # 6to4
        "3fff::/20",  # documentation
    )
)


def is_public(address: Address) -> bool:
    """True if `address`, or the address wrapped inside it, belongs to the public internet.

    6to4, Teredo and v4-compatible addresses are always refused: these tunnels are obsolete.
    """
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return is_public(address.ipv4_mapped)
        if address in _NAT64:
            return is_public(IPv4Address(int(address) & 0xFFFFFFFF))
        if address not in _GLOBAL_UNICAST:
            return False
    return (
        address.is_global
        and not address.is_multicast
        and not address.is_reserved
        and not any(address in network for network in _REFUSED)
    )


@dataclass(frozen=True, slots=True)
class AllowList:
    """The allow list of the operator: FETCH_ALLOW_HOSTS (`host`, `host:port`, CIDR)."""

    hosts: frozenset[str]
    networks: tuple[Network, ...]

    @classmethod
    def parse(cls, entries: tuple[str, ...]) -> AllowList:
        """Raises ValueError that names an invalid entry."""
        hosts, networks = set(), []
        for entry in entries:
            if "/" in entry:
                networks.append(ip_network(entry, strict=False))
                continue
            try:
                hosts.add(canonical_authority(entry))
            except ValueError:
                raise ValueError(f"{entry!r} is no host, host:port or CIDR") from None
        return cls(frozenset(hosts), tuple(networks))

    def allows_host(self, host: str, port: int) -> bool:
        """True if the list contains this host, alone or with this port."""
        try:
            host = canonical_host(host)
        except ValueError:
            return False
        return not self.hosts.isdisjoint({authority(host, None), authority(host, port)})

    def allows_address(self, address: Address) -> bool:
        """True if a CIDR of the list contains this address."""
        return any(address in network for network in self.networks)


def parse_address(text: str) -> Address:
    """Parse an address of the resolver, without its IPv6 zone."""
    return ip_address(text.split("%", 1)[0])
