"""What went wrong with an HTTP upstream, as a sentence that is fit to be shown: no address, no credential."""

from __future__ import annotations

import os

import aiohttp

_OK = 200


def complaint_about(response: aiohttp.ClientResponse, *, is_stream: bool) -> str | None:
    """What is wrong with an answer by its head alone, or None. Odd content types pass: some servers send none."""
    if response.status != _OK:
        return f"HTTP {response.status}"
    if is_stream and response.content_type in ("application/json", "text/html"):
        return f"{response.content_type} instead of an event stream"
    return None


def sentence_for(trouble: Exception) -> str:
    """What went wrong, without the address: it may hold credentials, and is nobody's business but the operator's."""
    match trouble:
        case aiohttp.ClientConnectorDNSError():
            return "the upstream's name is not known"
        case aiohttp.ClientConnectorCertificateError() | aiohttp.ClientSSLError():
            return "no secure connection to the upstream"
        case aiohttp.ClientConnectorError(errno=int(number)):
            return f"no connection to the upstream: {os.strerror(number)}"
        case aiohttp.ClientConnectorError():
            return "no connection to the upstream"
        case aiohttp.InvalidURL() | aiohttp.NonHttpUrlClientError():
            return "the upstream's address is not a URL"
        case aiohttp.ClientConnectionError() | aiohttp.ClientPayloadError() | OSError() | RuntimeError():
            return "the upstream broke the connection"
        case _:
            return f"the upstream does not speak HTTP ({type(trouble).__name__})"
