"""Where an address is: on this device, on the local network, or outside.

Decided by the address alone, never by looking a name up: a look-up would itself leave the machine. Only a
plain literal is believed. Other spellings of an address (``127.1``, ``2130706433``, ``0x7f.1``,
``::ffff:127.0.0.1``, ``0.0.0.0``, a zone index) and every host name but ``localhost`` count as outside:
parsers disagree about them, and being wrong in that direction only costs an explanation.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Literal

Place = Literal["device", "lan", "external"]

#: From near to far.
PLACES: tuple[Place, ...] = ("device", "lan", "external")

OLLAMA_PORT = 11434

#: Where a local Ollama server sends what is asked of a cloud model, where it does not say so itself.
CLOUD = "ollama.com"

# RFC 1918, RFC 3927, RFC 6598, RFC 4193, RFC 4291. Not `is_private`, which also holds documentation,
# benchmark and reserved ranges.
_LAN = tuple(
    ipaddress.ip_network(network)
    for network in (
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "169.254.0.0/16",
        "100.64.0.0/10",
        "fc00::/7",
        "fe80::/10",
    )
)

# One plain form, so that no two URL parsers can read two hosts from it: no userinfo, backslash, query,
# fragment, percent-encoded host or character outside ASCII.
_URL = re.compile(
    r"(?P<scheme>https?)://(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::(?P<port>[0-9]{1,5}))?"
    r"(?P<path>(?:/[A-Za-z0-9._~%!$'()*+,;=:-]*)*)",
    re.IGNORECASE | re.ASCII,
)


def place_of_host(host: str) -> Place:
    """Where ``host`` (a name or an address, IPv6 with or without brackets) is."""
    if host.lower() == "localhost":
        return "device"
    try:
        address = ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        return "external"
    if isinstance(address, ipaddress.IPv6Address) and (address.ipv4_mapped or address.scope_id):
        return "external"
    if address.is_loopback:
        return "device"
    return "lan" if any(address in network for network in _LAN) else "external"


def place_of_url(url: str) -> Place:
    """Where the server at ``url`` (one that ``check_url`` accepts) is."""
    match = _URL.fullmatch(url)
    return place_of_host(match["host"]) if match else "external"


def destination_of_url(url: str) -> str:
    """What consent to the server at ``url`` (one that ``check_url`` accepts) names.

    That is its host in lower case, with the port where that is not the scheme's own.
    """
    match = _URL.fullmatch(url)
    if match is None:
        raise ValueError("not a plain URL; write http(s)://HOST[:PORT][/PATH] in ASCII, with a port from 1 to 65535")
    usual = _usual_port(match["scheme"])
    port = int(match["port"] or usual)
    return match["host"].lower() + (f":{port}" if port != usual else "")


def port_of_url(url: str) -> int:
    """The port of the server at ``url`` (one that ``check_url`` accepts)."""
    match = _URL.fullmatch(url)
    return int(match["port"] or _usual_port(match["scheme"])) if match else 0


def _usual_port(scheme: str) -> int:
    return 443 if scheme.lower() == "https" else 80


def checked_destination(value: object) -> object:
    """A written destination in the form of :func:`destination_of_url`; raises ``ValueError`` for what is none."""
    if not isinstance(value, str):
        return value
    if _URL.fullmatch(value):
        return destination_of_url(value)
    if _URL.fullmatch(f"https://{value}") and "/" not in value:
        return value.lower()
    raise ValueError("not a destination; write the host alone, as in api.example.com or 10.0.0.5:8000")


def is_literal(url: str) -> bool:
    """Whether the host of ``url`` is written as an address, which needs no look-up."""
    match = _URL.fullmatch(url)
    try:
        ipaddress.ip_address(match["host"].removeprefix("[").removesuffix("]") if match else "")
    except ValueError:
        return False
    return True


def further(one: Place, other: Place) -> Place:
    """The one of two places that is further away."""
    return max(one, other, key=PLACES.index)


def check_url(url: str) -> str:
    """``url`` without its trailing slash, if it is a plain http(s) address of a server.

    Raises ``ValueError`` with what is wrong and the remedy. The message never repeats the URL, which may
    hold a password.
    """
    match = _URL.fullmatch(url)
    if match and int(match["port"] or 1) in range(1, 65536):
        return url.rstrip("/")
    if "@" in url:
        raise ValueError("a URL must hold no user name or password; name the key's variable in api_key_env instead")
    if "?" in url or "#" in url:
        raise ValueError("a URL must hold no query or fragment; write the server's base address only")
    if not url.lower().startswith(("http://", "https://")):
        raise ValueError("a URL must begin with http:// or https://, as in http://127.0.0.1:11434")
    raise ValueError("not a plain URL; write http(s)://HOST[:PORT][/PATH] in ASCII, with a port from 1 to 65535")


def ollama_url(value: str | None) -> str:
    """The URL that ``$OLLAMA_HOST`` means; ``value`` None or empty: Ollama's own default.

    Read as Ollama reads it: ``host``, ``host:port`` or a URL; the port is 11434 without a scheme, else the
    scheme's own. An address to listen on everywhere (``0.0.0.0``, ``::``) means this device here.
    Raises ``ValueError`` for what is no address.
    """
    text = (value or "").strip().strip("\"'").strip()
    scheme, separator, rest = text.partition("://")
    if not separator:
        scheme, rest = "http", text
    address, slash, path = rest.partition("/")
    port = f":{OLLAMA_PORT}"
    if separator:
        port = ""
    if address.count(":") > 1 and not address.startswith("["):
        host = f"[{address}]"
    else:
        host, colon, given = address.rpartition(":")
        if not colon or address.endswith("]"):
            host = address
        else:
            port = f":{given}"
    if host in ("", "0.0.0.0"):
        host = "127.0.0.1"
    elif host in ("[::]", "[::0]"):
        host = "[::1]"
    return check_url(f"{scheme}://{host}{port}{slash}{path}")


def is_cloud_name(name: str) -> bool:
    """Whether a local Ollama server would hand a model of this name to its cloud (``x:cloud``, ``x:20b-cloud``)."""
    _, colon, tag = name.lower().rpartition("/")[2].rpartition(":")
    return bool(colon) and (tag == "cloud" or tag.endswith("-cloud"))
