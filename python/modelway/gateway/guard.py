"""Who may ask at all: the rules that keep web pages and other hosts away from the local gateway.

A page in a browser can send requests to 127.0.0.1, and a hostile name server can make such a page's own
name mean 127.0.0.1 (DNS rebinding). The ``Host`` header then still holds the hostile name, and
``Origin`` the page's: both must name this machine. Requests without ``Origin`` come from programs.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Sequence

from modelway.gateway.facts import clean
from modelway.gateway.problems import Refused

#: ``host``, ``host:port``, ``[v6]``, ``[v6]:port``
_AUTHORITY = re.compile(r"(?:\[(?P<v6>[0-9a-fA-F:.]+)\]|(?P<name>[^\[\]:/@?#\s]+))(?::\d{1,5})?")

#: Names that would choose where a request goes. Only the configuration may.
_DESTINATIONS = frozenset({
    "api_base", "api_host", "api_type", "api_url", "api_version", "base_url", "custom_llm_provider", "endpoint",
    "extra_body", "extra_headers", "extra_query", "headers", "proxies", "proxy", "remote_host", "remote_model",
})  # fmt: skip
#: Credentials are refused in a body, where they would travel on; in a header clients send them unasked.
_IN_BODY = _DESTINATIONS | {"api_key"}


def check_target(raw_target: str) -> None:
    """Refuse the request forms that are meant for proxies (``GET http://host/``, ``OPTIONS *``)."""
    if not raw_target.startswith("/"):
        raise Refused(400, "invalid_target", "the request target must be a path: this server is no proxy")


def check_host(hosts: Sequence[str]) -> None:
    """Refuse a request whose ``Host`` is not this machine by a local name or a loopback address."""
    if len(hosts) != 1:
        raise Refused(400, "invalid_host", f"{len(hosts)} Host headers; exactly one is needed")
    if not _is_local(hosts[0]):
        raise Refused(
            403, "host_not_allowed", f"Host {clean(hosts[0], 100)!r} is not this machine; use localhost or 127.0.0.1"
        )


def check_origin(origins: Sequence[str]) -> None:
    """Refuse a request that a page of another site sends (``null`` is any site's sandbox)."""
    for origin in origins:
        scheme, separator, authority = origin.partition("://")
        if scheme not in ("http", "https") or not separator or not _is_local(authority):
            raise Refused(
                403, "origin_not_allowed", f"Origin {clean(origin, 100)!r} may not ask; only pages of localhost may"
            )


def check_body_names(names: Iterable[str]) -> None:
    """Refuse fields of a body that would choose a destination or a key."""
    for name in names:
        if name.lower().replace("-", "_") in _IN_BODY:
            raise _destination(name)


def check_header_names(names: Iterable[str]) -> None:
    """Refuse headers that would choose a destination, with or without ``X-``."""
    for name in names:
        if name.lower().removeprefix("x-").replace("-", "_") in _DESTINATIONS:
            raise _destination(name)


def check_media_type(media_type: str | None) -> None:
    """Refuse a body that is not declared as JSON: browsers send other types across sites unasked."""
    kind = (media_type or "").partition(";")[0].strip().lower()
    if kind != "application/json" and not re.fullmatch(r"application/[\w.-]+\+json", kind):
        given = f"it says {clean(kind, 60)}" if kind else "there is none"
        raise Refused(
            415, "unsupported_media_type", f"Content-Type: {given}; send the header 'Content-Type: application/json'"
        )


def _destination(name: str) -> Refused:
    return Refused(
        400, "destination_not_allowed", f"{name}: not accepted; destinations and keys come from the configuration only"
    )


def _is_local(authority: str) -> bool:
    match = _AUTHORITY.fullmatch(authority)
    if match is None:
        return False
    name = match["name"]
    if name is not None and (name.lower() == "localhost" or name.lower().endswith(".localhost")):
        return True
    try:
        return ipaddress.ip_address(match["v6"] or name).is_loopback
    except ValueError:  # another name, or an address in a spelling that browsers and servers read differently
        return False
