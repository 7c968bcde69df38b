"""The address by which others reach this host, as the property ``host_ip`` tells it."""

from __future__ import annotations

import ipaddress
import socket
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Final

import psutil

from rover.aside import Aside
from rover.config.address import Endpoint

if TYPE_CHECKING:
    from collections.abc import Iterator

BEYOND: Final = ((socket.AF_INET, "198.51.100.1"), (socket.AF_INET6, "2001:db8::1"))
"""Set aside for documentation (RFC 5737, RFC 3849), so the way there is the default route."""
ANY_PORT: Final = 9
LAST_RESORT: Final = "127.0.0.1"
NOWHERE: Final = Endpoint("", 0)
BEST, LINK_LOCAL, UNREACHABLE = range(3)
"""Ranks of addresses: the last mean this host to every host."""


class HostIp:
    """Looks for the address again and again, and is held up by no resolver that hangs.

    What was found before holds meanwhile, or else the address of the default route.
    """

    def __init__(self) -> None:
        self._found: dict[Endpoint, str] = {}
        self._aside = Aside("host-ip")

    def towards(self, endpoint: Endpoint) -> str:
        """Give the address as seen from there; for one thread."""
        self._aside.do(partial(self._ask, endpoint))
        return self._found.get(endpoint) or host_ip(NOWHERE)

    def _ask(self, endpoint: Endpoint) -> None:
        self._found[endpoint] = host_ip(endpoint)


def host_ip(endpoint: Endpoint) -> str:
    """Give the address of the interface that leads to the backend; sends nothing.

    Where the backend is on this host or cannot be resolved, it is that of the default route, then
    any address of an interface that is up, IPv4 first; 127.0.0.1 only where nothing else exists.
    """
    found: dict[int, str] = {}
    for address in chain(_towards(endpoint), _beyond(), _interfaces()):
        found.setdefault(_rank(address), address)
        if BEST in found:
            break
    return found.get(BEST) or found.get(LINK_LOCAL) or LAST_RESORT


def _rank(address: str) -> int:
    ip = ipaddress.ip_address(address)
    if ip.is_loopback or ip.is_unspecified:
        return UNREACHABLE
    return LINK_LOCAL if ip.is_link_local else BEST


def _towards(endpoint: Endpoint) -> Iterator[str]:
    if not endpoint.host:
        return
    try:
        found = socket.getaddrinfo(endpoint.host, endpoint.port, type=socket.SOCK_DGRAM)
    except (OSError, UnicodeError):
        return
    for family, _, _, _, there in found:
        yield from _source(socket.AddressFamily(family), there)


def _beyond() -> Iterator[str]:
    for family, address in BEYOND:
        yield from _source(family, (address, ANY_PORT))


def _source(family: socket.AddressFamily, there: tuple[object, ...]) -> Iterator[str]:
    """Give the address that the kernel would send from: connecting a datagram socket asks it."""
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as asker:
            asker.connect(there)
            yield asker.getsockname()[0].partition("%")[0]
    except OSError:
        return


def _interfaces() -> Iterator[str]:
    up = {name for name, state in psutil.net_if_stats().items() if state.isup}
    addresses = [
        address
        for name, listed in sorted(psutil.net_if_addrs().items())
        if name in up
        for address in listed
    ]
    for family in (socket.AF_INET, socket.AF_INET6):
        for address in addresses:
            if address.family == family:
                yield address.address.partition("%")[0]
