"""Which HTTP proxy leads to the backend, by the variables that other programs follow.

grpc reads them in lower case only and knows no address ranges in ``no_proxy``; where a host sets
them in upper case alone, its cluster-internal names would be looked for at the proxy.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import urlsplit

from rover.reporter.failures import plain

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rover.config.address import Endpoint

PROXY_VARIABLES: Final = ("grpc_proxy", "https_proxy", "http_proxy")
EXEMPT_VARIABLES: Final = ("no_grpc_proxy", "no_proxy")
HTTP_PORT: Final = 80
"""Of a proxy that is named without one; grpc would take 443."""


class Way(NamedTuple):
    """How to reach an endpoint."""

    proxy: str
    """The proxy's URL, empty where the way is direct."""
    ignored: tuple[str, ...] = ()
    """What was not understood of the variables, a sentence each, without passwords."""


def proxy_for(endpoint: Endpoint, environ: Mapping[str, str]) -> str:
    """Give the proxy's URL, empty where the way to the endpoint is direct."""
    return way_to(endpoint, environ).proxy


def way_to(endpoint: Endpoint, environ: Mapping[str, str]) -> Way:
    """Find the way to an endpoint, and what of the variables is not understood.

    The loopback is always direct. Only proxies spoken to over plain HTTP are known.
    """
    name, url = _first(environ, PROXY_VARIABLES)
    if not url or endpoint.is_local:
        return Way("")
    exempting, exempt = _first(environ, EXEMPT_VARIABLES)
    patterns = [pattern.strip().lower() for pattern in exempt.split(",")]
    if any(_matches(pattern, endpoint) for pattern in patterns):
        return Way("")
    ignored = tuple(
        f"{exempting}: {pattern!r} is no range of addresses"
        for pattern in patterns
        if "/" in pattern and not _is_network(pattern)
    )
    try:
        return Way(_http(url), ignored)
    except ValueError as error:
        return Way("", (f"{name}: {error}; the backend is dialled directly", *ignored))


def _http(url: str) -> str:
    """Give a proxy's URL as grpc understands it.

    Raises:
        ValueError: it is none of a proxy spoken to over plain HTTP; the message tells no password.
    """
    scheme, separator, rest = url.rpartition("://")
    if separator and scheme.lower() != "http":
        raise ValueError(f"no proxy is spoken to by {plain(scheme)}://, only by http://")
    try:
        parts = urlsplit(f"http://{rest}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or parts.netloc.count("@") > 1 or " " in parts.netloc:
        raise ValueError("it is no address of a proxy; write http://HOST:PORT")
    return f"http://{parts.netloc}" if port else f"http://{parts.netloc.rstrip(':')}:{HTTP_PORT}"


def _first(environ: Mapping[str, str], names: tuple[str, ...]) -> tuple[str, str]:
    """Give the name and the value of the first variable that is set; empty where none is."""
    spelt = (each for name in names for each in (name, name.upper()))
    found = ((name, environ.get(name, "").strip()) for name in spelt)
    return next(((name, value) for name, value in found if value), ("", ""))


def _is_network(pattern: str) -> bool:
    try:
        ipaddress.ip_network(pattern, strict=False)
    except ValueError:
        return False
    return True


def _matches(pattern: str, endpoint: Endpoint) -> bool:
    """Tell whether one item of ``no_proxy`` is about the endpoint."""
    host = endpoint.host.lower()
    if not pattern or pattern == "*":
        return bool(pattern)
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(pattern, strict=False)
    except ValueError:
        pass
    name = pattern.removesuffix(f":{endpoint.port}").removeprefix("*").lstrip(".")
    return host == name or host.endswith(f".{name}")
