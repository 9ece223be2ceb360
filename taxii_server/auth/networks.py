"""Addresses of clients: whether one is within some networks, and which ones count as the same client."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network


@lru_cache(maxsize=4096)
def is_within(address: str, networks: tuple[str, ...]) -> bool:
    """Whether the address is in one of the networks. What is no address is in none."""
    found = _parsed(address)
    return found is not None and any(found in network for network in _networks(networks))


@lru_cache(maxsize=4096)
def client_of(address: str) -> str:
    """The address as limits count it: one subscriber has a whole /64 of IPv6 to choose from."""
    found = _parsed(address)
    if isinstance(found, IPv6Address):
        return str(IPv6Network((found, 64), strict=False))
    return address if found is None else str(found)


@lru_cache(maxsize=1024)
def _networks(texts: tuple[str, ...]) -> tuple[IPv4Network | IPv6Network, ...]:
    return tuple(ip_network(text) for text in texts)


def _parsed(address: str) -> IPv4Address | IPv6Address | None:
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return None
    # A socket that listens for both families shows IPv4 clients as ::ffff:192.0.2.7.
    return (found.ipv4_mapped or found) if isinstance(found, IPv6Address) else found
