"""Addresses as people write them: where the backend is, and where status is served."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Final

DEFAULT_PORT: Final = 11800
MOST_PORT: Final = 65535
HOST_AND_PORT: Final = re.compile(
    r"(?:\[(?P<v6>[^\[\]]+)\]|(?P<name>[^\[\]:/\s]+))(?::(?P<port>.*))?"
)
LISTENER: Final = re.compile(r"(?:\[(?P<v6>[^\[\]]+)\]|(?P<name>[^\[\]:/\s]*)):(?P<port>.*)")
LABEL: Final = re.compile(r"[\w-]{1,63}")
"""Of a name in the DNS, or in /etc/hosts; letters of any script, and underscores, as people do."""
LIKE_A_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*", re.IGNORECASE)
VARIABLE: Final = re.compile(r"\$\{?([A-Za-z_][A-Za-z0-9_]*)")
HOST_NAME: Final = re.compile(r"(?:\*\.)?[\w-]+(?:\.[\w-]+)*\.?", re.ASCII)
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
        ValueError: One of them is no address; the message is the advice.
    """
    parts = [part.strip() for part in addr.split(",") if part.strip()]
    if not parts:
        raise ValueError("write host:port, such as oap:11800")
    found = []
    for part in parts:
        try:
            found.append(_endpoint(part))
        except ValueError as error:
            raise ValueError(f"{part!r} {error}" if len(parts) > 1 else str(error)) from error
    return tuple(dict.fromkeys(found))


def _endpoint(text: str) -> Endpoint:
    if variable := VARIABLE.search(text):
        raise ValueError(
            f"holds {variable[0]!r}, which nobody replaces; write ${{{variable[1]}:default}}"
        )
    if text.startswith("unix:"):
        return Endpoint("", 0, "/" + text.removeprefix("unix:").lstrip("/"))
    plain = text.removeprefix("dns:///")
    if scheme := SCHEME.match(plain):
        raise ValueError(
            f"starts with {scheme[0]!r}; write host:port, and set core.backend.enable_TLS for an"
            " encrypted link"
        )
    if _is_ipv6(plain):
        return Endpoint(plain, DEFAULT_PORT)
    match = HOST_AND_PORT.fullmatch(plain)
    if match is None or (match["v6"] and not _is_ipv6(match["v6"])):
        raise ValueError("is no address; write host:port")
    port = DEFAULT_PORT if match["port"] is None else _port(match["port"], least=1)
    return Endpoint(match["v6"] or _host(match["name"]), port)


def listener(addr: str) -> tuple[str, int]:
    """Read HOST:PORT or :PORT, where to listen; an IPv6 host stands in brackets.

    Returns:
        The host, "" for every address, and the port, 0 for any that is free.

    Raises:
        ValueError: It is no such address; the message is the advice.
    """
    match = LISTENER.fullmatch(addr)
    if match is None or (match["v6"] and not _is_ipv6(match["v6"])):
        raise ValueError("is no address to listen on; write HOST:PORT or :PORT")
    name = _host(match["name"]) if match["name"] else ""
    return match["v6"] or name, _port(match["port"], least=0)


def _host(name: str) -> str:
    """Give a host's name, or its IPv4 address, as it stands.

    A name that ends in a number is an address or nothing (RFC 1123, 2.1).

    Raises:
        ValueError: It is neither.
    """
    labels = name.removesuffix(".").split(".")
    if LIKE_A_NUMBER.fullmatch(labels[-1]):
        try:
            ipaddress.IPv4Address(name)
        except ValueError:
            raise ValueError(f"{name!r} is no IPv4 address, which has four parts to 255") from None
    elif not all(map(LABEL.fullmatch, labels)):
        raise ValueError(f"{name!r} is no name of a host")
    return name


def host_name(text: str) -> str:
    """Read the name of a host, or ``*.`` and the name of a domain for all hosts below it.

    Returns:
        The name in small letters.

    Raises:
        ValueError: It is no name; the message is the advice.
    """
    if not HOST_NAME.fullmatch(text):
        raise ValueError(
            f"{text!r} is no name of a host; write node1.example.org or *.example.org, without a"
            " port"
        )
    return text.lower().removesuffix(".")


def _port(text: str, *, least: int) -> int:
    if text.isascii() and text.isdecimal() and least <= int(text[:6]) <= MOST_PORT:
        return int(text)
    raise ValueError(f"the port is {text!r}, not a number from {least} to {MOST_PORT}")


def _is_ipv6(text: str) -> bool:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True
