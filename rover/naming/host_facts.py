"""Facts of the host that names are made of: its name, its addresses, its users."""

from __future__ import annotations

import ipaddress
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import psutil

from rover.naming.user_names import UserNames

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    Interfaces = Mapping[str, Iterable[str]]
    """Addresses of each interface in the kernel's order, which puts the primary one first."""

_LOOK_AGAIN: Final = 10.0
"""Seconds between two looks for an address that was not there: networks come up after boot."""
_HOST_NAME_BYTES: Final = 256


class Host:
    """What templates may ask of the host.

    Addresses are read at the first question and kept, so that an instance keeps its name when a
    lease changes; only one that is missing is looked for again.

    Attributes:
        name: The host's name; never blank.
        instance_id: The agent's own id.
        users: Names of the users that processes run as.
    """

    def __init__(
        self,
        instance_id: str,
        *,
        name: str = "",
        interfaces: Callable[[], Interfaces] | None = None,
        users: UserNames | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take the facts that do not change.

        Args:
            instance_id: The agent's own id.
            name: What the host is called, where another source knows better (a node's name in
                Kubernetes); empty: ask the kernel.
            interfaces: Reads the addresses; the default asks the kernel.
            users: Asks the user database; one of its own where none is given.
            clock: Seconds that only grow.
        """
        self.instance_id = instance_id
        self.name = name or host_name()
        self._read = interfaces or _interfaces
        self._clock = clock
        self._interfaces: Interfaces = {}
        self._read_at = -_LOOK_AGAIN
        self.users = users or UserNames()

    def ipv4(self, interface: str) -> str:
        """Return the primary IPv4 address of an interface, "" where it has none."""
        return self._address(interface, 4)

    def ipv6(self, interface: str) -> str:
        """Return an IPv6 address of an interface, a routed one before a link-local one, or ""."""
        return self._address(interface, 6)

    @property
    def interfaces(self) -> tuple[str, ...]:
        """Names of the interfaces that had an address when last looked at."""
        return tuple(self._interfaces)

    def _address(self, interface: str, version: int) -> str:
        found = pick_address(self._interfaces.get(interface, ()), version)
        if not found and self._clock() - self._read_at >= _LOOK_AGAIN:
            self._read_at = self._clock()
            self._interfaces = self._read()
            found = pick_address(self._interfaces.get(interface, ()), version)
        return found


def pick_address(addresses: Iterable[str], version: int) -> str:
    """Choose the first address of an IP version, link-local ones last; "" where there is none.

    A zone (``fe80::1%eth0``) is dropped. Text that is no IP address, such as a MAC, is passed over.
    """
    link_local = ""
    for text in addresses:
        try:
            address = ipaddress.ip_address(text.partition("%")[0])
        except ValueError:
            continue
        if address.version != version:
            continue
        if not address.is_link_local:
            return str(address)
        link_local = link_local or str(address)
    return link_local


def host_name(proc: str = "/proc") -> str:
    """Return the host's name, also from a container that shares the host's processes.

    Such a container has a name of its own, new with each start; the host's is then read from the
    root of process 1 where access allows it.
    """
    name = ""
    if _own_uts_namespace(proc):
        try:
            with Path(proc, "1/root/etc/hostname").open("rb") as file:
                name = file.read(_HOST_NAME_BYTES).decode(errors="replace").strip()
        except OSError:
            name = ""
        # An image's placeholder tells no host from another; the container's name at least does.
        if name.startswith("localhost"):
            name = ""
    return name or _printable(socket.gethostname()).strip() or "localhost"


def _own_uts_namespace(proc: str) -> bool:
    try:
        return Path(proc, "self/ns/uts").readlink() != Path(proc, "1/ns/uts").readlink()
    except OSError:
        return False


def _interfaces() -> Interfaces:
    return {
        _printable(name): [address.address for address in addresses]
        for name, addresses in psutil.net_if_addrs().items()
    }


def _printable(text: str) -> str:
    """Replace the lone surrogates that Python keeps undecodable bytes in: they are no UTF-8."""
    return text.encode(errors="surrogateescape").decode(errors="replace")
