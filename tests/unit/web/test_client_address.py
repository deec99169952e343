"""Whom a request comes from, and that nobody chooses that for himself."""

from __future__ import annotations

from ipaddress import ip_network

import pytest
from starlette.requests import Request

from chatkeep.web.client_address import client_address

TRUSTED = tuple(map(ip_network, ("10.0.0.0/8", "192.0.2.1", "2001:db8::/32")))


def asked_by(peer: str | None, *forwarded: str) -> Request:
    headers = [(b"x-forwarded-for", each.encode()) for each in forwarded]
    client = None if peer is None else (peer, 1)
    return Request({"type": "http", "headers": headers, "client": client})


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("203.0.113.9", [], "203.0.113.9"),
        ("203.0.113.9", ["198.51.100.1"], "203.0.113.9"),
        ("10.1.2.3", [], "10.1.2.3"),
        ("10.1.2.3", ["198.51.100.1"], "198.51.100.1"),
        ("10.1.2.3", ["198.51.100.1, 203.0.113.9"], "203.0.113.9"),
        ("10.1.2.3", ["198.51.100.1", "203.0.113.9"], "203.0.113.9"),
        ("10.1.2.3", ["198.51.100.1, 203.0.113.9 ,192.0.2.1", "10.9.9.9"], "203.0.113.9"),
        ("10.1.2.3", ["10.7.7.7, 192.0.2.1"], "10.7.7.7"),
        ("10.1.2.3", ["198.51.100.1, unknown"], "10.1.2.3"),
        ("10.1.2.3", ["198.51.100.1, , 10.9.9.9"], "10.9.9.9"),
        ("10.1.2.3", [""], "10.1.2.3"),
        ("10.1.2.3", ["198.51.100.1:4711"], "198.51.100.1"),
        ("10.1.2.3", ["2001:DB9:0::1"], "2001:db9::1"),
        ("10.1.2.3", ["[2001:db9::1]:4711"], "2001:db9::1"),
        ("2001:db8::7", ["198.51.100.1"], "198.51.100.1"),
        ("::ffff:10.1.2.3", ["::ffff:198.51.100.1"], "198.51.100.1"),
        ("testclient", ["198.51.100.1"], "testclient"),
        (None, ["198.51.100.1"], ""),
    ],
)
def test_the_last_address_that_is_no_trusted_proxys(
    peer: str | None, forwarded: list[str], client: str
) -> None:
    assert client_address(asked_by(peer, *forwarded), TRUSTED) == client


def test_nobody_is_believed_by_default() -> None:
    assert client_address(asked_by("127.0.0.1", "198.51.100.1"), ()) == "127.0.0.1"
