"""Where the backend is: the setting ``core.backend.addr`` as a list of endpoints."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Final

from rover.errors import BackendError

DEFAULT_PORT: Final = 11800
MOST_PORT: Final = 65535
HOST_AND_PORT: Final = re.compile(
    r"(?:\[(?P<v6>[^\[\]]+)\]|(?P<name>[^\[\]:/\s]+))(?::(?P<port>.*))?"
)
SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One address of the backend."""

    host: str
    """Name or IP address; empty for a Unix socket."""
    port: int
    path: str = ""
    """Path of a Unix socket."""

    @property
    def target(self) -> str:
        """As grpc wants it; a zone of a link-local address is percent-encoded there."""
        if self.path:
            return f"unix:{self.path}"
        host = self.host.replace("%", "%25")
        return f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"

    @property
    def is_local(self) -> bool:
        """Whether it names this host's loopback, where no proxy leads."""
        try:
            return ipaddress.ip_address(self.host.partition("%")[0]).is_loopback
        except ValueError:
            return bool(self.path) or self.host == "localhost" or self.host.endswith(".localhost")

    def __str__(self) -> str:
        return self.target


def endpoints(addr: str) -> tuple[Endpoint, ...]:
    """Read host:port, or several with commas, in the order in which they are tried.

    The port may be left out. IPv6 addresses stand in brackets, or bare without a port.

    Raises:
        BackendError: One of them is no address.
    """
    found = tuple(
        dict.fromkeys(_endpoint(part.strip()) for part in addr.split(",") if part.strip())
    )
    if not found:
        raise BackendError("core.backend.addr is empty; write host:port, such as oap:11800")
    return found


def _endpoint(text: str) -> Endpoint:
    if text.startswith("unix:"):
        return Endpoint("", 0, "/" + text.removeprefix("unix:").lstrip("/"))
    plain = text.removeprefix("dns:///")
    if scheme := SCHEME.match(plain):
        raise BackendError(
            f"core.backend.addr {text!r} starts with {scheme[0]!r}; write host:port, and set "
            "core.backend.enable_TLS for an encrypted link"
        )
    if _is_ipv6(plain):
        return Endpoint(plain, DEFAULT_PORT)
    match = HOST_AND_PORT.fullmatch(plain)
    if match is None or (match["v6"] and not _is_ipv6(match["v6"])):
        raise BackendError(f"core.backend.addr {text!r} is no address; write host:port")
    return Endpoint(match["v6"] or match["name"], _port(match["port"], text))


def _port(text: str | None, whole: str) -> int:
    if text is None:
        return DEFAULT_PORT
    if text.isascii() and text.isdecimal() and 0 < int(text[:6]) <= MOST_PORT:
        return int(text)
    raise BackendError(
        f"core.backend.addr {whole!r}: the port is {text!r}, not a number from 1 to {MOST_PORT}"
    )


def _is_ipv6(text: str) -> bool:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True
