"""From which address a client calls, also through proxies. Asked where attempts of one address are counted.

Only proxies that the operator named are believed: anybody may send `X-Forwarded-For`.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import TypeAlias

from starlette.requests import HTTPConnection

Address: TypeAlias = IPv4Address | IPv6Address
Networks: TypeAlias = tuple[IPv4Network | IPv6Network, ...]


def client_address(connection: HTTPConnection, trusted: Networks) -> str:
    """The peer, or behind trusted proxies the last address in `X-Forwarded-For` that is not one of theirs.

    What a proxy wrote that is no address stands for the proxy itself. Empty where the server cannot tell, as in a test.
    """
    peer = connection.client.host if connection.client is not None else ""
    found = _address(peer)
    if found is None:
        return peer
    hops = ",".join(connection.headers.getlist("x-forwarded-for")).split(",")
    while hops and any(found in network for network in trusted):
        before = _address(hops.pop())
        if before is None:
            break
        found = before
    return str(found)


def _address(text: str) -> Address | None:
    host = text.strip()
    if host.startswith("["):  # [address]:port
        host = host[1:].partition("]")[0]
    elif host.count(":") == 1:  # address:port
        host = host.partition(":")[0]
    try:
        address = ip_address(host)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address
