"""What the client library raised, as the kind of failure that it is."""

from __future__ import annotations

import aiohttp
from yarl import URL

from modelway.errors import BackendError
from modelway.origin import Origin
from modelway.pools.addresses import WrongPlace


def failure_of(error: aiohttp.ClientError, url: str, connect_s: float, origin: Origin) -> BackendError:
    """What ``error`` means for the request to ``url``; quotes neither the request nor the answer."""
    place = place_of(url)
    match error:
        case aiohttp.ServerTimeoutError():
            kind, what = "connect", f"no connection to {place} within {connect_s:g} s"
        case aiohttp.ClientConnectorDNSError() if isinstance(error.os_error, WrongPlace):
            kind, what = "connect", f"no connection to {place}: {error.os_error}; correct the url"
        case aiohttp.ClientConnectorDNSError():
            kind, what = "connect", f"the host of {place} is not known; correct the url"
        case aiohttp.ClientConnectorCertificateError() | aiohttp.ClientSSLError():
            kind, what = "connect", f"no TLS connection to {place}: its certificate or protocol was refused"
        case aiohttp.ClientConnectorError():
            why = error.strerror or "refused"
            kind, what = "connect", f"no connection to {place}: {why}; is the server running?"
        case aiohttp.InvalidURL() | aiohttp.NonHttpUrlClientError():
            kind, what = "connect", f"{place} is no http or https address; correct the url"
        case aiohttp.ClientConnectionError():
            kind, what = "reset", f"{place} closed the connection before it answered"
        case _:
            kind, what = "malformed", f"{place} did not answer in HTTP"
    return origin.error(kind, what)


def place_of(url: str) -> str:
    """Scheme, host and port: what an error may show of an address."""
    try:
        return str(URL(url).origin())
    except ValueError:
        return "the configured url"
