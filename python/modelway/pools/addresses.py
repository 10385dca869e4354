"""Names of hosts to addresses, of which only those count that are where the host is said to be."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Sequence

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

from modelway.privacy.locality import Place, place_of_host

#: What machines in a data centre are told of themselves, keys among it: by RFC 3927 and by agreement.
_METADATA = frozenset({"169.254.169.254", "fd00:ec2::254", "100.100.100.200"})


class WrongPlace(OSError):
    """A name leads to an address where no such server can be."""


def check_address(address: str, place: Place, *, is_encrypted: bool) -> None:
    """Raise :class:`WrongPlace` unless a server that is configured to be at ``place`` may have ``address``.

    One on this device has a loopback address. One elsewhere has none, nor one that leads to no other machine or to one
    that answers whoever asks; and what is not encrypted stays in the local network.
    """
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
        found = found.ipv4_mapped
    is_here = place_of_host(str(found)) == "device"
    if place == "device":
        if not is_here:
            raise WrongPlace(f"its name leads to {found}, which is not on this device")
    elif str(found) in _METADATA:
        raise WrongPlace(f"its name leads to {found}, which tells machines their keys")
    elif is_here or found.is_unspecified or found.is_multicast or found.is_link_local or found.is_reserved:
        raise WrongPlace(f"its name leads to {found}, which is no server's address")
    elif not is_encrypted and place_of_host(str(found)) != "lan":
        raise WrongPlace(f"its name leads to {found}, out of the local network; write https:// in its url")


class Resolver(AbstractResolver):
    """The system's, and then :func:`check_address`: one wrong address spoils all, as it is no accident."""

    def __init__(self, place: Place, *, is_encrypted: bool) -> None:
        self._place = place
        self._is_encrypted = is_encrypted
        self._system = ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found: Sequence[ResolveResult] = await self._system.resolve(host, port, family)
        for one in found:
            check_address(one["host"], self._place, is_encrypted=self._is_encrypted)
        return list(found)

    async def close(self) -> None:
        await self._system.close()
